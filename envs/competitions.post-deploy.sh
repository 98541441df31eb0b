python -m pip install --constraint envs/constraints.txt --editable ".[competitions,mle-dojo]"
