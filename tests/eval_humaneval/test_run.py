"""Tests of the commands, against a server whose answers are known."""

import json
import sys
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from acepilot.models.gate_report import read_gate_report
from eval_humaneval.cli import main
from eval_humaneval.results import read_results, read_samples
from eval_humaneval.run_folder import locked
from tests.eval_humaneval.programs import need_sandbox

OPERATIONS = {"add": "+", "subtract": "-", "multiply": "*", "divide": "/"}
RIGHT = {
    f"{name}_{n}": f"    return a {sign} {n}\n" for name, sign in OPERATIONS.items() for n in range(2, 8)
}


@pytest.fixture(autouse=True)
def _contained():
    need_sandbox()


@pytest.fixture
def problems(tmp_path: Path) -> Path:
    """A set in OpenAI's format, with a problem for each entry of RIGHT."""
    path = tmp_path / "small.jsonl"
    rows = [
        {
            "task_id": f"HumanEval/{at}",
            "prompt": f"def {name}(a: float) -> float:\n",
            "entry_point": name,
            "canonical_solution": right,
            "test": f"def check(candidate):\n    assert candidate(3) == 3 {right.split('return a ')[1]}",
        }
        for at, (name, right) in enumerate(RIGHT.items())
    ]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


class Answers:
    """An OpenAI-style server. `complete` maps the name of a prompt's function to the completion."""

    def __init__(self, url: str) -> None:
        self.url = url
        self.complete: Callable[[str], str] = lambda name: RIGHT[name]
        self.asked: list[dict[str, object]] = []


@pytest.fixture
def server() -> Iterator[Answers]:
    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            answers.asked.append(body)
            name = body["prompt"].removeprefix("def ").partition("(")[0]
            choice = {"text": answers.complete(name), "index": 0, "finish_reason": "stop"}
            data = json.dumps({"choices": [choice], "usage": {"completion_tokens": 7}}).encode()
            self.send_response(200)
            self.send_header("Content-Length", str(len(data)))
            self.end_headers()
            self.wfile.write(data)

        def log_message(self, *_: object) -> None: ...

    class Listening(ThreadingHTTPServer):
        request_queue_size = 64

    listening = Listening(("127.0.0.1", 0), Handler)
    answers = Answers(f"http://127.0.0.1:{listening.server_port}")
    thread = threading.Thread(target=listening.serve_forever)
    thread.start()
    yield answers
    listening.shutdown()
    listening.server_close()
    thread.join()


@pytest.fixture
def command(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Callable[..., int]:
    monkeypatch.setenv("ACEPILOT_HOME", str(tmp_path / "home"))

    def run(*words: object) -> int:
        monkeypatch.setattr(sys, "argv", ["eval_humaneval", *map(str, words)])
        return main()

    return run


def test_a_run_leaves_samples_results_and_a_report(problems, server, command, tmp_path, capsys):
    server.complete = lambda name: RIGHT[name] if name.startswith("add") else "    return None\n"
    to = tmp_path / "run"
    assert command("run", "--server-url", server.url, "--problems", problems, "--to", to) == 0
    results = read_results(to)
    assert results.pool.pass_at[1].value == pytest.approx(25)
    assert results.languages["python"].problems == 24
    assert results.cost.tokens == 24 * 7
    assert results.model.files == {}
    assert len(read_samples(to)) == 24
    page = (to / "report.html").read_text()
    assert "18 problems with a failure" in page
    assert "return None" in page
    assert "25.0" in capsys.readouterr().out


def test_a_killed_run_resumes_where_it_stopped(problems, server, command, tmp_path):
    to = tmp_path / "run"
    words = ("run", "--server-url", server.url, "--problems", problems, "--to", to)
    command(*words)
    before = (to / "samples.jsonl").read_text().splitlines(keepends=True)
    (to / "samples.jsonl").write_text("".join(before[:10]) + before[10][:40])
    (to / "results.json").unlink()
    server.asked.clear()
    assert command(*words) == 0
    assert len(server.asked) == 14
    assert read_results(to).cost.samples_resumed == 10
    assert len(read_samples(to)) == 24


def test_a_timeout_is_judged_again_and_not_asked_again(problems, server, command, tmp_path):
    to = tmp_path / "run"
    words = ("run", "--server-url", server.url, "--problems", problems, "--to", to)
    command(*words)
    first, *others = (to / "samples.jsonl").read_text().splitlines(keepends=True)
    busy = json.loads(first) | {"outcome": "timeout", "detail": "5 s"}
    (to / "samples.jsonl").write_text("".join([*others, json.dumps(busy) + "\n"]))
    server.asked.clear()
    assert command(*words) == 0
    assert server.asked == []
    assert read_results(to).pool.pass_at[1].value == 100
    assert read_results(to).cost.samples_resumed == 23


def test_judgements_by_other_versions_of_tools_are_not_reused(problems, server, command, tmp_path, capsys):
    to = tmp_path / "run"
    words = ("run", "--server-url", server.url, "--problems", problems, "--to", to)
    command(*words)
    inputs = json.loads((to / "asked.json").read_text())
    inputs["versions"]["python"] = "4.0"
    (to / "asked.json").write_text(json.dumps(inputs))
    assert command(*words) == 3
    assert "holds another run (versions differ)" in " ".join(capsys.readouterr().err.split())


def test_the_editors_variable_sends_no_run_to_a_server(problems, server, command, capsys, monkeypatch):
    monkeypatch.setenv("ACEPILOT_SERVER_URL", server.url)
    assert command("run", "--model", "nowhere", "--problems", problems) == 3
    assert "There is no model `nowhere`" in " ".join(capsys.readouterr().err.split())
    assert server.asked == []


def test_problems_are_written_for_a_corpus_to_leave_them_out(problems, command, tmp_path):
    assert command("problems", "--problems", problems, "--out", tmp_path / "to/out.jsonl") == 0
    rows = [json.loads(line) for line in (tmp_path / "to/out.jsonl").read_text().splitlines()]
    assert len(rows) == 24
    assert rows[1]["task_id"] == "humaneval/python/1"
    assert rows[1]["canonical_solution"] == RIGHT["add_3"]


def test_more_samples_are_added_to_those_of_an_earlier_run(problems, server, command, tmp_path):
    to = tmp_path / "run"
    words = ("run", "--server-url", server.url, "--problems", problems, "--to", to, "--temperature", "0.2")
    command(*words, "--samples", 2)
    server.asked.clear()
    command(*words, "--samples", 3)
    assert len(server.asked) == 24
    assert len({ask["seed"] for ask in server.asked}) == 24
    assert read_results(to).problems[0].samples == 3


def test_both_sides_of_a_comparison_get_the_same_prompts_and_stops(problems, server, command, tmp_path):
    asked = []
    for side in ("base", "candidate"):
        server.asked.clear()
        command("run", "--server-url", server.url, "--problems", problems, "--to", tmp_path / side)
        asked.append(sorted(json.dumps(body, sort_keys=True) for body in server.asked))
    assert asked[0] == asked[1]


def test_the_gate_passes_the_same_and_fails_the_worse(problems, server, command, tmp_path, capsys):
    run = ("run", "--server-url", server.url, "--problems", problems)
    command(*run, "--to", tmp_path / "base")
    command(*run, "--to", tmp_path / "same")
    server.complete = lambda name: "    return None\n"
    command(*run, "--to", tmp_path / "worse")
    assert command("compare", tmp_path / "base", tmp_path / "same", "--to", tmp_path / "passed") == 0
    assert command("compare", tmp_path / "base", tmp_path / "worse", "--to", tmp_path / "failed") == 1
    report = read_gate_report(tmp_path / "failed")
    assert report.verdict == "FAIL"
    assert report.pool is not None
    assert report.pool.difference == pytest.approx(-100)
    page = (tmp_path / "failed" / "gate.html").read_text()
    assert "24 problems flipped" in page
    assert '<span class="added">+    return None</span>' in page
    assert "FAIL" in capsys.readouterr().out


def test_unequal_runs_are_infrastructure(problems, server, command, tmp_path):
    run = ("run", "--server-url", server.url, "--problems", problems)
    command(*run, "--to", tmp_path / "base")
    command(*run, "--to", tmp_path / "other", "--max-tokens", 10)
    assert command("compare", tmp_path / "base", tmp_path / "other", "--to", tmp_path / "gate") == 3
    assert read_gate_report(tmp_path / "gate").verdict == "INFRASTRUCTURE"


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("run", "--samples", 3), "--temperature"),
        (("run", "--server-url", "http://127.0.0.1:9", "--languages", "klingon"), "No such language"),
        (("run", "--server-url", "http://127.0.0.1:9", "--problems", "nowhere.jsonl"), "nowhere.jsonl"),
        (("run", "--model", "nowhere"), "There is no model"),
        (("compare", "nowhere", "nothing"), "There is no model"),
        (("compare", "a", "b", "--margin", "lots"), "--margin lots"),
    ],
)
def test_an_error_names_its_cause(words, message, command, capsys):
    assert command(*words) == 3
    assert message in capsys.readouterr().err


def test_a_wrong_flag_is_not_inconclusive(command):
    with pytest.raises(SystemExit) as ended:
        command("compare", "a")
    assert ended.value.code == 3


def test_selftest_finds_a_wrong_canonical_solution(problems, command, tmp_path):
    rows = problems.read_text().splitlines()
    rows[3] = rows[3].replace("return a", "return 1 + a")
    problems.write_text("\n".join(rows) + "\n")
    assert command("selftest", "--problems", problems, "--json", tmp_path / "out.json") == 1
    report = json.loads((tmp_path / "out.json").read_text())
    assert (report["passed"], report["failed"], report["skipped"]) == (23, 1, 0)
    assert report["tasks"]["failed"][0]["which"] == "canonical"
    assert report["sandbox"] == "bubblewrap+seccomp"


def test_a_problem_whose_own_solution_fails_is_not_asked(problems, server, command, tmp_path):
    rows = problems.read_text().splitlines()
    rows[3] = rows[3].replace("return a", "return 1 + a")
    problems.write_text("\n".join(rows) + "\n")
    command("run", "--server-url", server.url, "--problems", problems, "--to", tmp_path / "run")
    results = read_results(tmp_path / "run")
    assert len(results.selftest_failed) == 1
    assert results.pool.problems == 23


def test_a_folder_is_of_one_model_and_one_run_at_a_time(problems, server, command, tmp_path, capsys):
    to = tmp_path / "run"
    words = ("run", "--server-url", server.url, "--problems", problems, "--to", to)
    assert command(*words) == 0
    server.asked.clear()
    assert command(*words, "--model", "another") == 3
    assert "name differ" in capsys.readouterr().err
    with locked(to, json.loads((to / "asked.json").read_text())):
        assert command(*words) == 3
    assert "Another run" in capsys.readouterr().err
    assert not server.asked


def test_an_error_has_another_exit_code_than_fail(problems, server, command, tmp_path, capsys):
    to = tmp_path / "run"
    words = ("run", "--server-url", server.url, "--problems", problems, "--to", to)
    command(*words)
    (to / "samples.jsonl").write_text("{}\n")
    assert command(*words) == 3
    assert "damaged" in capsys.readouterr().err
    assert command(*words[:-1], problems) == 3
    assert "cannot be written" in capsys.readouterr().err


def test_half_characters_and_brackets_do_not_stop_a_run(problems, server, command, tmp_path, capsys):
    server.complete = lambda name: f"    x = '\ud800'\n{RIGHT[name]}"
    words = ("run", "--server-url", server.url, "--problems", problems, "--to", tmp_path / "run")
    assert command(*words, "--model", "[/x]y") == 0
    out = capsys.readouterr().out
    assert "[/x]y" in out
    assert "100.0 [" in out


def test_a_run_can_be_compared_after_its_folder_moved(problems, server, command, tmp_path):
    run = ("run", "--server-url", server.url, "--problems", problems, "--to")
    command(*run, tmp_path / "base")
    server.complete = lambda name: "    return None\n"
    command(*run, tmp_path / "worse")
    (tmp_path / "worse").rename(tmp_path / "moved")
    assert command("compare", tmp_path / "base", tmp_path / "moved", "--to", tmp_path / "gate") == 1
    assert "24 problems flipped" in (tmp_path / "gate" / "gate.html").read_text()


def test_holes_are_scored_by_kind_and_need_no_sandbox(server, command, tmp_path, capsys):
    code = tmp_path / "shop" / "prices.py"
    code.parent.mkdir()
    functions = (
        f"def price_{n}(net, rate, count):\n    gross = net * (1 + rate * {n})\n"
        f"    total = gross * count + {n}\n    if total > {n}00:\n        total -= net * {n}\n"
        f"    return round(total, {n})\n\n\n"
        for n in range(2, 12)
    )
    code.write_text("".join(functions))
    server.complete = lambda name: "nothing like it\n"
    to = tmp_path / "run"
    assert command("run", "--server-url", server.url, "--holes", code.parent, "--to", to) == 0
    results = read_results(to)
    assert results.sandbox == "none"
    assert not list(tmp_path.glob("home/eval/judgements-*"))
    assert set(results.hole_parts) <= {"line", "block", "expression"}
    assert sum(part.problems for part in results.hole_parts.values()) == results.pool.problems > 2
    assert results.pool.holes["exact_match"].value == 0
    assert results.pool.holes["edit_similarity"].value > 0
    assert all("suffix" in body for body in server.asked)
    assert "exact match" in capsys.readouterr().out
