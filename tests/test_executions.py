"""What one job executed, another one knows, and nothing else."""

from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent.core.environment import Execution
from agent.sandbox.executions import read_executions, write_executions
from agent.sandbox.remembering import RememberingRunner

text = st.text(st.characters(codec="utf-8"), max_size=20)
executions = st.dictionaries(
    st.tuples(text, st.sampled_from([Path("a/public"), Path("b/public")])),
    st.builds(
        Execution,
        outcome=st.sampled_from(["ok", "crashed"]),
        error=text,
        message=text,
        output=text,
        submission=st.none() | st.binary(max_size=50),
        refused=text,
        seconds=st.floats(0, 100),
    ),
    max_size=5,
)
SUBMIT = "open('submission.csv', 'w').write(open('sample_submission.csv').read())\n"


@given(executions)
def test_what_is_written_is_read(tmp_path_factory: pytest.TempPathFactory, made: dict) -> None:
    file = tmp_path_factory.mktemp("executions") / "made.parquet"
    write_executions(file, made, "as usual")
    assert read_executions(file, "as usual") == made


def test_another_job_executes_only_what_is_new(runner, wine, tmp_path: Path) -> None:
    before, after = tmp_path / "before.parquet", tmp_path / "after.parquet"
    one = RememberingRunner(runner, {})
    results = [one.run(program, wine.public) for program in (SUBMIT, "1 / 0")]
    write_executions(before, one.new, "")
    other = RememberingRunner(runner, read_executions(before, ""))
    again = [other.run(program, wine.public) for program in (SUBMIT, "1 / 0", "pass")]
    assert [(r.outcome, r.error, r.submission) for r in again[:2]] == [
        (r.outcome, r.error, r.submission) for r in results
    ]
    assert (other.asked, other.executed) == (3, 1)
    write_executions(after, other.new, "")
    assert [program for program, _ in read_executions(after, "")] == ["pass"]


def test_executions_under_other_limits_are_refused(tmp_path: Path) -> None:
    file = tmp_path / "made.parquet"
    write_executions(file, {}, '{"seconds": 60}')
    with pytest.raises(ValueError, match=r"made\.parquet: executed under other settings"):
        read_executions(file, '{"seconds": 6}')


def test_damaged_and_foreign_files_are_named(tmp_path: Path) -> None:
    file = tmp_path / "made.parquet"
    write_executions(file, {}, "")
    file.write_bytes(file.read_bytes()[:-9])
    with pytest.raises(ValueError, match=r"made\.parquet: damaged"):
        read_executions(file, "")
    pq.write_table(pa.table({"a": [1]}), file)
    with pytest.raises(ValueError, match=r"made\.parquet: holds no executions"):
        read_executions(file, "")
