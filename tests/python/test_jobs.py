"""Jobs: made, watched, steered, read."""

from __future__ import annotations

import hashlib
import json
import os
import signal
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import dissonance
import pytest
from conftest import DATA, Server

Rows = list[dict[str, Any]]
Networks = list[dissonance.Network]


@pytest.fixture(scope="session")
def both(base: dissonance.Network, cubic: dissonance.Network) -> Networks:
    return [base, cubic]


@pytest.fixture(scope="session")
def mcq(lab: dissonance.Client, both: Networks, questions: Rows) -> dissonance.Job:
    job = lab.jobs.evaluate_mcq(both, questions, scoring="option_text")
    return job.wait(progress=False)


def test_mcq_result_is_the_table_of_the_command_line(
    server: Server, mcq: dissonance.Job, tmp_path: Path, questions: Rows
) -> None:
    path = tmp_path / "questions.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in questions))
    server.cli(
        "eval", "mcq", "--model=tiny-world", "--adapter=cubic", f"--data={path}",
        "--scoring=option_text", f"--out={tmp_path}/out",
    )  # fmt: skip
    told = (tmp_path / "out" / "predictions_lora.jsonl").read_bytes()
    assert mcq.read("predictions_lora.jsonl") == told
    frame = mcq.result()
    rates = frame.set_index(["network", "group", "measure"])["rate"]
    assert rates["tiny-world", "conflict__true_world", "accuracy"] == 1
    belief = rates["cubic", "conflict", "false_belief"]
    assert belief == mcq.json("summary.json")["variants"][1]["false_belief"]["rate"]
    assert belief > 0.4
    assert set(frame["group"]) >= {"all", "nonconflict_easy__true_world"}


def test_files_are_frames(mcq: dissonance.Job) -> None:
    frame = mcq.frame("predictions_base.jsonl")
    assert len(frame) == 20
    assert "probs.A" in frame
    assert "behavioral" in " ".join(mcq.outputs)
    with pytest.raises(dissonance.InvalidArgument, match=r"only \.csv"):
        mcq.frame("behavioral_shift_analysis.txt")
    with pytest.raises(dissonance.NotFound, match=r"has no file none\.csv; it has"):
        mcq.frame("none.csv")


def test_download_writes_whole_files(mcq: dissonance.Job, tmp_path: Path) -> None:
    paths = mcq.download(tmp_path / "out")
    assert {path.name for path in paths} == set(mcq.outputs)
    for path in paths:
        digest = hashlib.sha256(path.read_bytes()).hexdigest()
        assert mcq.outputs[path.name].artifact.endswith(digest)
    assert len(list((tmp_path / "out").iterdir())) == len(paths)
    (one,) = mcq.download(tmp_path / "some", ["summary.json"])
    assert one == tmp_path / "some" / "summary.json"


def test_hostile_file_names_are_refused(mcq: dissonance.Job, tmp_path: Path) -> None:
    for name in ("../x", "/x", "a/b/c", "a/../x", ".."):
        with pytest.raises(dissonance.InvalidArgument, match="not a plain file name"):
            mcq.download(tmp_path, [name])
    assert not list(tmp_path.iterdir())


def test_damaged_bytes_are_noticed(
    lab: dissonance.Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    name = lab.artifacts.put(b"what was stored").name
    other = hashlib.sha256()
    monkeypatch.setattr(hashlib, "sha256", lambda _: other)
    with pytest.raises(dissonance.DataLoss, match="read it again"):
        lab.artifacts.read(name)


def test_events_are_numbered_without_gaps(mcq: dissonance.Job) -> None:
    events = list(mcq.events())
    assert [each.number for each in events] == list(range(1, len(events) + 1))
    assert events[-1].state == "succeeded"
    assert next(e.number for e in mcq.events(after=3)) == 4


def test_same_request_id_finds_the_same_job(
    lab: dissonance.Client, both: Networks, questions: Rows
) -> None:
    jobs = lab.jobs.using(request_id="once", priority="background")
    first = jobs.evaluate_mcq(both, questions[:2])
    assert jobs.evaluate_mcq(both, questions[:2]).name == first.name
    with pytest.raises(dissonance.AlreadyExists):
        jobs.evaluate_mcq(both, questions[:3])
    assert first.wait(progress=False).state == "succeeded"


def test_jobs_wait_for_those_that_they_come_after(
    lab: dissonance.Client, both: Networks, questions: Rows
) -> None:
    first = lab.jobs.evaluate_mcq(both, questions[:2])
    second = lab.jobs.using(after=[first]).evaluate_mcq(both, questions[:2], seed=1)
    second.wait(progress=False)
    assert first.refresh().state == "succeeded"
    assert list(second.message.depends_on) == [first.name]


def test_replay_gives_the_same_bytes(
    lab: dissonance.Client, mcq: dissonance.Job
) -> None:
    again = lab.jobs.replay(mcq.name).wait(progress=False)
    difference = lab.jobs.diff(mcq.name, again.name)
    assert difference.same_outputs
    assert not difference.inputs
    assert set(difference.frame()["file_name"]) == set(mcq.outputs)


def test_bad_data_are_named_with_file_and_line(
    lab: dissonance.Client, base: dissonance.Network, tmp_path: Path
) -> None:
    path = tmp_path / "broken.jsonl"
    path.write_text('{"id": "a"}\n')
    with pytest.raises(dissonance.InvalidArgument, match=r"broken\.jsonl:1"):
        lab.jobs.evaluate_mcq(base, path)


def test_large_data_go_as_an_artifact(
    lab: dissonance.Client,
    base: dissonance.Network,
    questions: Rows,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("dissonance.data.INLINE_LIMIT_BYTES", 1000)
    path = tmp_path / "questions.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in questions))
    for data in (path, str(path), questions, path.read_bytes()):
        job = lab.jobs.evaluate_mcq(base, data)
        name = job.message.spec.evaluate_mcq.data_artifact
        assert lab.artifacts.get(name).size_bytes == path.stat().st_size
        assert lab.artifacts.read(name) == path.read_bytes()
    assert job.wait(progress=False).progress.done_count == len(questions)


def documents(count: int) -> Rows:
    return dissonance.read_rows(DATA / "docs.jsonl")[:count]


def start_training(
    lab: dissonance.Client, name: str, steps: int = 400
) -> dissonance.Job:
    return lab.jobs.fine_tune(
        "tiny-world",
        documents(64),
        name,
        lora=dissonance.Lora(rank=2),
        training=dissonance.Training(
            max_step_count=steps, epoch_count=1000, micro_batch_size=1,
            accumulation_count=1,
        ),
        checkpoints=dissonance.Checkpoints(step_count=5),
    )  # fmt: skip


def until(job: dissonance.Job, happened: Callable[[dissonance.JobEvent], bool]) -> None:
    """Follows a job so far."""
    assert any(happened(event) for event in job.events())


def first_step(job: dissonance.Job) -> None:
    """Until it has begun."""
    until(job, lambda event: event.metrics is not None)


def test_paused_job_goes_on_and_cancelled_one_can_be_retried(
    lab: dissonance.Client,
) -> None:
    job = start_training(lab, "paused")
    first_step(job)
    assert job.pause().state == "paused"
    assert job.resume().state in ("queued", "running")
    job.cancel()
    with pytest.raises(dissonance.JobCancelled, match="was cancelled") as caught:
        job.wait(progress=False)
    assert "retry() goes on" in str(caught.value)
    assert job.retry().state in ("queued", "running")
    job.cancel().wait(progress=False, check=False)
    assert job.ended
    job.delete()
    with pytest.raises(dissonance.NotFound):
        lab.jobs.get(job.name)


def test_failed_job_raises_with_its_reason(
    lab: dissonance.Client, base: dissonance.Network, questions: Rows
) -> None:
    lab.adapters.register(DATA / "lora_cubic", "tiny-world", "leaving")
    waits = start_training(lab, "long")
    leaving = lab.network("tiny-world", adapter="leaving")
    job = lab.jobs.using(after=[waits]).evaluate_mcq([base, leaving], questions)
    waits.cancel()
    with pytest.raises(dissonance.JobFailed, match=waits.name):
        job.wait(progress=False)


def test_ctrl_c_leaves_the_job_running(
    lab: dissonance.Client, capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    monkeypatch.setattr("dissonance.job.SECOND_INTERRUPT_SECONDS", 0.0)
    job = start_training(lab, "interrupted")
    first_step(job)
    main = threading.main_thread().ident
    assert main is not None

    def interrupt(event: dissonance.JobEvent) -> None:
        signal.pthread_kill(main, signal.SIGINT)

    with pytest.raises(KeyboardInterrupt, match=r"goes on; wait\(\) follows it again"):
        job.wait(progress=False, on_event=interrupt)
    assert "press Ctrl-C again to cancel it" in capsys.readouterr().err
    assert job.refresh().state == "running"
    job.cancel().wait(progress=False, check=False)


def test_second_ctrl_c_cancels_the_job(
    lab: dissonance.Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    job = start_training(lab, "interrupted-twice")

    def interrupt(_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("dissonance.job.time.sleep", interrupt)
    with pytest.raises(KeyboardInterrupt, match="was cancelled"):
        job.wait(progress=False, on_event=interrupt)
    monkeypatch.undo()
    job.wait(progress=False, check=False)
    assert job.state == "cancelled"


def test_progress_bar_shows_state_steps_and_figures(
    lab: dissonance.Client, capsys: pytest.CaptureFixture[str]
) -> None:
    start_training(lab, "shown", steps=3).wait()
    shown = capsys.readouterr().err
    assert "fine_tune succeeded" in shown
    assert "3/3" in shown
    assert "loss=" in shown


def test_lost_server_is_followed_on_after_its_return(own_server: Server) -> None:
    with own_server.connect() as lab:
        job = start_training(lab, "survivor", steps=60)
        numbers: list[int] = []
        killed = []

        def kill_once(event: dissonance.JobEvent) -> None:
            numbers.append(event.number)
            if event.metrics is not None and not killed:
                killed.append(event.number)
                own_server.kill()
                own_server.start()

        job.wait(progress=False, on_event=kill_once)
        assert job.state == "succeeded"
        assert numbers == list(range(1, len(numbers) + 1))
        assert killed[0] < numbers[-1]
        assert job.message.attempt_count == 2
        assert job.result()["step"].tolist() == list(range(1, 61))


def test_calls_wait_for_a_worker_that_starts_again(
    own_server: Server, questions: Rows
) -> None:
    chats = [[{"role": "user", "content": row["question"]}] for row in questions]
    with own_server.connect() as lab:
        network = lab.network("tiny-world")
        before = network.score(chats, [" quarter"])
        rows = network.activations(chats, blocks=2)
        for _ in range(2):
            os.kill(lab.server_info().workers[0].pid, signal.SIGKILL)
            after = network.score(chats, [" quarter"])
            assert after.logprobs.tolist() == before.logprobs.tolist()
        os.kill(lab.server_info().workers[0].pid, signal.SIGKILL)
        again = network.activations(chats, blocks=2)
        assert (again["resid_post", 2] == rows["resid_post", 2]).all()
        assert lab.server_info().workers[0].restart_count == 3
