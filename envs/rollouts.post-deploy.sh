python -m pip install --constraint envs/constraints.txt --editable ".[rollouts,mle-dojo]"
