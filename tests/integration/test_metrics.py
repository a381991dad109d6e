# SPDX-License-Identifier: Apache-2.0
"""/prom, /jmx, the section of mod_status and the notes for the access log on a real httpd."""
from __future__ import annotations

import os
import re
import signal
import threading

import pytest
from client import Client
from harness import Httpd, wait_for
from prometheus_client.parser import text_string_to_metric_families

METER = "metrics:name=hadoop.kms.{}.calls.meter"
ACLS = {"hadoop.kms.acl.CREATE": "u", "hadoop.kms.acl.GET": "u", "default.key.acl.MANAGEMENT": "*",
        "default.key.acl.READ": "*", "default.key.acl.GENERATE_EEK": "*", "default.key.acl.DECRYPT_EEK": "*",
        "key.acl.closed.DECRYPT_EEK": "nobody",
        "key.acl.closed.MANAGEMENT": "*", "key.acl.closed.GENERATE_EEK": "*", "key.acl.closed.READ": "*"}


def scrape(client: Client) -> dict[tuple, float]:
    """Every sample of /prom, by its name and labels, as Prometheus's own parser reads it."""
    text = client.call("GET", "/prom").body.decode()
    return {(s.name, *sorted(s.labels.values())): s.value
            for family in text_string_to_metric_families(text) for s in family.samples}


def requests(samples: dict[tuple, float], operation: str, result: str = "ok") -> float:
    return samples[("kms_requests_total", *sorted((operation, result)))]


def meters(client: Client) -> dict[str, int]:
    beans = client.call("GET", "/jmx?qry=metrics:*").json()["beans"]
    return {re.sub(r".*hadoop\.kms\.(\w+)\..*", r"\1", b["name"]): b["Count"] for b in beans}


def grown(before: dict, after: dict) -> dict:
    return {k: after[k] - before[k] for k in after if after[k] != before[k]}


@pytest.fixture
def ready(httpd: Httpd):
    httpd.area.write_acls(ACLS)
    httpd.start()
    client = Client(httpd.port)
    yield client
    client.close()


def test_every_operation_and_result(ready: Client) -> None:
    before = scrape(ready)
    ready.create("k")
    ready.create("closed")
    eek = ready.generate("k").json()[0]
    closed = ready.generate("closed").json()[0]
    ready.decrypt(eek)
    ready.reencrypt(eek)
    ready.reencrypt_batch("k", [eek])
    ready.roll("k")
    ready.metadata("k")
    ready.current("k")
    ready.version("k@0")
    ready.versions("k")
    ready.names()
    ready.call("GET", "keys/metadata?key=k")
    ready.invalidate("k")
    assert ready.decrypt(closed).status == 403
    assert ready.call("POST", "keys", {"name": "x"}, user="v").status == 403
    ready.call("GET", "keyversion/x@0/_eek")
    ready.call("GET", "/kms/nowhere")
    ready.decrypt({**eek, "iv": ""})
    ready.call("OPTIONS", "keys")
    ready.delete("k")
    token = ready.call("GET", "?op=GETDELEGATIONTOKEN&renewer=u").json()["Token"]["urlString"]
    ready.call("PUT", f"?op=RENEWDELEGATIONTOKEN&token={token}")
    ready.call("PUT", f"?op=CANCELDELEGATIONTOKEN&token={token}")
    after = scrape(ready)
    found = {k[1:]: v for k, v in grown(before, after).items() if k[0] == "kms_requests_total"}
    once = ["get_keys", "get_keys_metadata", "get_metadata", "get_current_key", "get_key_version", "get_key_versions",
            "reencrypt_eek", "reencrypt_eek_batch", "roll_key", "delete_key", "invalidate_cache", "options", "decrypt_eek",
            "get_delegation_token", "renew_delegation_token", "cancel_delegation_token"]
    wanted = {tuple(sorted((op, "ok"))): 1.0 for op in once}
    wanted |= {("create_key", "ok"): 2.0, ("generate_eek", "ok"): 2.0, ("decrypt_eek", "denied_key"): 1.0,
               ("create_key", "denied_op"): 1.0, ("client_error", "other"): 2.0, ("client_error", "decrypt_eek"): 1.0}
    assert found == wanted
    for change in ("store", "update", "remove"):
        assert after[("kms_token_operations_total", change)] == 1
    assert after[("kms_keys",)] == 1 and after[("kms_key_versions",)] == 1
    assert after[("kms_audit_up",)] == 1
    states = {k[1:]: v for k, v in after.items() if k[0] == "kms_health"}
    assert len(states) == 18 and {k: v for k, v in states.items() if "ok" in k} == {k: 1 for k in states if "ok" in k}
    assert after[("kms_audit_write_duration_seconds_count",)] >= 17
    assert after[("kms_request_duration_seconds_count", "decrypt_eek")] == 3
    assert not any("closed" in k or "u" in k[1:] for k in after)


def test_the_java_meters(ready: Client) -> None:
    """Where each counts is the table of the Java server; the interop test compares with the server itself."""
    before = meters(ready)
    ready.create("k")
    ready.call("POST", "keys", {})  # at entry, so a body without a name counts
    ready.call("POST", "keys", {"name": "x"}, user="v")
    ready.call("GET", "key/")  # metadata counts behind the check of the name
    ready.current("k")
    ready.call("GET", "key//_currentversion")
    eek = ready.generate("k").json()[0]
    ready.generate("none")  # fails, so it does not count
    ready.decrypt(eek)
    ready.decrypt({**eek, "versionName": "none@0"})  # at the operation
    ready.reencrypt(eek)
    ready.reencrypt_batch("k", [eek])
    ready.call("GET", "keys/names", user=None)
    ready.call("OPTIONS", "keys/names", user=None)
    wanted = {"admin": 3, "key": 1, "generate_eek": 1, "decrypt_eek": 2, "reencrypt_eek": 1, "reencrypt_eek_batch": 1,
              "unauthorized": 1}
    # 400 three times, 403, 500 for the generate, 400 for the decrypt; and each /jmx.
    calls = [0]

    def settled() -> bool:
        calls[0] += 1
        now = grown(before, meters(ready))
        # The harness asks without credentials whether httpd is up, and its last call may count late.
        return now.pop("unauthenticated", 0) >= 2 and now.pop("invalid") == 6 + calls[0] and now == wanted

    wait_for("the meters", settled, 10)


def test_authentications(ready: Client) -> None:
    before = scrape(ready)
    cookie = ready.call("OPTIONS", "keys").cookie()
    token = ready.call("GET", "?op=GETDELEGATIONTOKEN&renewer=u").json()["Token"]["urlString"]
    ready.call("GET", "keys/names", headers={"Cookie": cookie}, user=None)
    ready.call("GET", "keys/names", headers={"X-Hadoop-Delegation-Token": token}, user=None)
    ready.call("GET", "keys/names", user=None)
    ready.call("GET", "keys/names", headers={"X-Hadoop-Delegation-Token": "bad"}, user=None)
    ready.call("GET", "keys/names?doAs=v")

    def settled() -> bool:
        found = {k[1]: v for k, v in grown(before, scrape(ready)).items() if k[0] == "kms_authentications_total"}
        found.pop("pseudo")
        # One at least: the harness asks without credentials whether httpd is up, and its last call may count late.
        return found.pop("unauthenticated", 0) >= 1 and found == {"cookie": 1, "token": 1, "refused": 2}

    wait_for("the outcomes", settled, 10)


def load(httpd: Httpd, calls: int, answered: list[int]) -> None:
    client = Client(httpd.port, fresh=False)
    done = 0
    for _ in range(calls):
        try:
            done += client.names().status == 200
        except OSError:
            client.close()
    answered.append(done)
    client.close()


def run_load(httpd: Httpd, threads: int, calls: int) -> tuple[list[threading.Thread], list[int]]:
    answered: list[int] = []
    running = [threading.Thread(target=load, args=(httpd, calls, answered)) for _ in range(threads)]
    for thread in running:
        thread.start()
    return running, answered


def test_no_answer_is_lost(ready: Client, httpd: Httpd) -> None:
    """Several children under load: N answers are N counts, over a child that is killed and a graceful restart."""
    before = scrape(ready)
    running, answered = run_load(httpd, 6, 200)
    for thread in running:
        thread.join()
    assert sum(answered) == 1200
    middle = scrape(ready)
    assert requests(middle, "get_keys") - requests(before, "get_keys") == 1200

    httpd.allow("AH00051", "AH00052")
    running, answered = run_load(httpd, 6, 200)
    wait_for("some load", lambda: requests(scrape(ready), "get_keys") > requests(middle, "get_keys") + 50)
    serving = [int(line.split()[0]) for line in httpd.access_lines()[-50:]]
    os.kill(serving[0], signal.SIGKILL)
    for thread in running:
        thread.join()
    after = scrape(ready)
    counted = requests(after, "get_keys") - requests(middle, "get_keys")
    # What the killed child had counted and not sent may be more; nothing is less.
    assert sum(answered) <= counted <= 1200 + 6 * 2

    httpd.graceful()
    ready.close()
    wait_for("an answer", httpd.answers)
    restarted = scrape(ready)
    for name, value in after.items():
        if name[0].endswith(("_total", "_count", "_bucket", "_sum")):
            assert restarted[name] >= value, name
    assert restarted[("kms_start_time_seconds",)] == after[("kms_start_time_seconds",)]
    assert restarted[("kms_requests_in_flight",)] <= 2
    assert restarted[("kms_resident_memory_bytes",)] > 10**6


def test_rates_move(ready: Client) -> None:
    for _ in range(20):
        ready.names()

    def admin() -> dict:
        return ready.call("GET", "/jmx?qry=" + METER.format("admin")).json()["beans"][0]

    bean = wait_for("a tick", lambda: b if (b := admin())["OneMinuteRate"] > 0 else None, 15)
    assert bean["Count"] == 20 and bean["RateUnit"] == "events/second"
    assert bean["MeanRate"] > 0 and bean["FifteenMinuteRate"] > 0


def test_jmx_answers_as_java(ready: Client, httpd: Httpd) -> None:
    everything = ready.call("GET", "/kms/jmx")
    assert everything.header("Access-Control-Allow-Origin") == "*"
    names = [bean["name"] for bean in everything.json()["beans"]]
    assert f"Hadoop:service=KMS,name=HttpServer2-{httpd.port}" in names
    assert len(names) == len(set(names)) == 20
    assert ready.call("GET", "/jmx?qry=bad").body.strip() == b"{}"
    one = "/jmx?get=java.lang:type=Threading::ThreadCount"  # as of the last second
    wait_for("all threads", lambda: ready.call("GET", one).json()["beans"][0]["ThreadCount"] > 30)
    assert ready.call("GET", "/jmx?get=java.lang:type=Runtime::Pid").json()["beans"][0]["Pid"] == httpd.pid


def test_a_failing_audit_log_shows(ready: Client, httpd: Httpd) -> None:
    assert ready.names().status == 200
    httpd.stop()
    httpd.audit_log = httpd.run / "full.log"
    httpd.audit_log.symlink_to("/dev/full")
    httpd.allow("KMS0401", "KMS0601", "KMS0511", "KMS0510")
    httpd.start()
    assert ready.names().status == 503
    samples = scrape(ready)
    assert samples[("kms_audit_up",)] == 0
    assert samples[("kms_health", "audit", "failing")] == 1 and samples[("kms_health", "audit", "ok")] == 0
    assert samples[("kms_audit_failures_total",)] >= 1
    assert requests(samples, "get_keys", "unavailable") == 1


def test_changed_acls_are_counted(ready: Client, httpd: Httpd) -> None:
    httpd.area.write_acls({**ACLS, "hadoop.kms.acl.GET_KEYS": "u"})
    wait_for("the rules", lambda: scrape(ready)[("kms_acl_loads_total", "ok")] > 0)


def test_mod_status(registry) -> None:
    server = registry.httpd()
    server.more_modules = ["status"]
    server.directives.append("ExtendedStatus On")
    server.more_locations = '<Location "/server-status">\n  KMSEngine Off\n  AuthType None\n  Require all granted\n' \
        "  SetHandler server-status\n</Location>\n"
    server.start()
    client = Client(server.port)
    client.create("k")
    client.names()
    short = client.call("GET", "/server-status?auto", user=None).body.decode()
    lines = dict(line.split(": ", 1) for line in short.splitlines() if line.startswith("KMS"))
    assert lines["KMSOk-create_key"] == "1" and lines["KMSOk-get_keys"] == "1" and lines["KMSAuditUp"] == "1"
    assert int(lines["KMSRequests"]) >= 2
    page = client.call("GET", "/server-status", user=None).body.decode()
    assert f"KMS of {server.area.conf}" in page
    assert re.search(r"<tr><td>create_key</td><td>1</td>", page)
    client.close()


def test_notes_and_conditional_logs(registry) -> None:
    server = registry.httpd()
    server.area.write_acls(ACLS)
    form = '"%{kms-op}n %{kms-result}n %{kms-key}n %{kms-user}n %{kms-backend-us}n"'
    server.directives += [f"CustomLog {server.run}/notes {form}",
                          f"CustomLog {server.run}/denied \"%{{kms-denied}}e %>s\" env=kms-denied"]
    server.start()
    client = Client(server.port)
    client.create("closed")
    eek = client.generate("closed").json()[0]
    client.decrypt(eek)
    client.call("POST", "keys", {"name": "x"}, user="v")
    client.call("GET", "keys/names", user=None)
    client.close()

    def lines(name: str) -> list[str]:
        path = server.run / name
        return path.read_text().splitlines() if path.exists() else []

    wait_for("the lines", lambda: len(lines("denied")) >= 4)
    notes = [line for line in lines("notes") if line.split()[0] in ("create_key", "generate_eek", "decrypt_eek")]
    assert [line.split()[:4] for line in notes] == [
        ["create_key", "ok", "closed", "u"], ["generate_eek", "ok", "closed", "u"],
        ["decrypt_eek", "denied_key", "closed", "u"], ["create_key", "denied_op", "x", "v"]]
    assert int(notes[0].split()[4]) > 0
    # The first is of the harness, which asks without credentials whether httpd is up.
    assert lines("denied")[-3:] == ["key 403", "op 403", "authentication 401"]
