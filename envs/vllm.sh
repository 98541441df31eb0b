# Make an environment that has vLLM, whose packages do not go with the project's:
#   sh envs/vllm.sh .venv/vllm [python3.11]
set -eu
"${2:-python3.11}" -m venv "$1"
"$1/bin/python" -m pip install --requirement envs/vllm.txt
"$1/bin/python" -c 'import vllm; print("vLLM", vllm.__version__)'
