"""Asks lakh-origin what its OpenAPI document allows and forbids, by schemathesis: no answer may be a server's
error, and each must be as documented. Arguments: the binaries of lakh-origin and of schemathesis.

Several people ask, because some operations end the session of whoever uses them."""

import base64
import datetime
import hashlib
import json
import os
import subprocess
import sys
import tempfile
import urllib.request

CHECKS = [
    "not_a_server_error",
    "status_code_conformance",
    "content_type_conformance",
    "response_headers_conformance",
    "response_schema_conformance",
    "missing_required_header",
    "unsupported_method",
    "negative_data_rejection",
]
# Whoever uses these is nobody afterwards, or somebody else.
ENDING = ["/api/v1/logout", "/api/v1/sessions", "/api/v1/users/{id}"]
EXAMPLES = "4"
CONFIGURATION = os.path.abspath(os.path.join(os.path.dirname(__file__), "schemathesis.toml"))


class Origin:
    """A process of its own on a free port, with data that is gone afterwards."""

    def __init__(self, binary, folder):
        self.folder = folder
        self.command = [binary, "--data", folder, "--no-demo", "--port", "0"]
        self.process = subprocess.Popen(self.command, stderr=subprocess.PIPE, text=True)
        for line in self.process.stderr:
            told = json.loads(line)
            if told["event"] == "listening":
                self.url = "http://" + told["address"]
                break
        else:
            sys.exit("lakh-origin ended before it listened")
        # The rest of its log is not read here, and must not fill the pipe.
        self.rest = subprocess.Popen(["cat"], stdin=self.process.stderr, stdout=subprocess.DEVNULL)

    def send(self, method, path, token=None, body=None, **fields):
        raw = body if isinstance(body, bytes) else json.dumps(body).encode()
        headers = {"content-type": "application/json", **fields}
        if token:
            headers["authorization"] = "Bearer " + token
        request = urllib.request.Request(self.url + path, raw, headers, method=method)
        with urllib.request.urlopen(request) as answer:
            return json.load(answer)

    def join(self, email, role=None):
        person = {"name": "Ada", "email": email, "password": "correct horse"}
        token = self.send("POST", "/api/v1/register", body=person)["token"]
        if role:
            subprocess.run([*self.command[:4], "--grant", f"{role}={email}"], check=True, stderr=subprocess.DEVNULL)
            token = self.send("POST", "/api/v1/login", body=person_without_name(person))["token"]
        return token

    def stop(self):
        self.process.terminate()
        code = self.process.wait(60)
        self.rest.wait(60)
        return code


def person_without_name(person):
    return {key: value for key, value in person.items() if key != "name"}


def furnish(origin, token):
    """One of most things, so that there is something at number 1."""
    listing = {"title": "Tent", "text": "x", "category": "c", "price_cents": 100, "place": "p"}
    origin.send("POST", "/api/v1/listings", token, listing)
    guest = origin.join("guest@example.org")
    day = str(datetime.date.today() + datetime.timedelta(days=2))
    wish = {"listing": 1, "from": day, "to": day}
    origin.send("POST", "/api/v1/bookings", guest, wish, **{"idempotency-key": "1"})
    origin.send("POST", "/api/v1/issues", token, {"title": "a", "text": "b", "place": "c"})
    origin.send("POST", "/api/v1/tasks", token, {"title": "a", "list": "b"})
    origin.send("POST", "/api/v1/exports", token, {"about": "bookings"})
    origin.send("POST", "/api/v1/devices/scanner-1/requests", token, {"text": "a"})
    tomorrow = datetime.datetime.now(datetime.timezone.utc) + datetime.timedelta(days=1)
    at = [(tomorrow + datetime.timedelta(hours=hours)).strftime("%Y-%m-%dT%H:%M:%SZ") for hours in (0, 2)]
    here, time = {"latitude": 52.5, "longitude": 13.4}, {"from": at[0], "to": at[1]}
    origin.send("PUT", "/api/v1/profile", token, {"interests": ["chess"], "distance_km": 5, "free": [time], **here})
    event = {"title": "a", "text": "b", "topics": ["chess"], "place": "c", "capacity": 2, **here, **time}
    origin.send("POST", "/api/v1/events", guest, event)
    content = b"a large file"
    digest = hashlib.sha256(content)
    announced = {"name": "a", "bytes": len(content), "sha256": digest.hexdigest()}
    origin.send("POST", "/api/v1/files", token, announced)
    field = f"sha-256=:{base64.b64encode(digest.digest()).decode()}:"
    origin.send("PUT", "/api/v1/files/1/chunks/0", token, content, **{"content-digest": field})


def ask(schemathesis, origin, token, *chosen):
    """Whether something was found."""
    command = [
        schemathesis, "--config-file", CONFIGURATION, "run", origin.url + "/api/v1/openapi.json",
        "--url", origin.url,
        "--header", "Authorization: Bearer " + token,
        "--checks", ",".join(CHECKS),
        "--phases", "examples,coverage,fuzzing",
        "--max-examples", EXAMPLES,
        "--generation-deterministic",
        "--request-timeout", "30",
        "--suppress-health-check", "all",
        "--warnings", "off",
        "--no-shrink",
        "--no-color",
        *chosen,
    ]
    # It leaves notes where it runs.
    return subprocess.run(command, cwd=origin.folder).returncode != 0


def main():
    binary, schemathesis = map(os.path.abspath, sys.argv[1:])
    with tempfile.TemporaryDirectory() as folder:
        origin = Origin(binary, folder)
        try:
            failed = ask_all(schemathesis, origin)
        finally:
            stopped = origin.stop()
    sys.exit(failed or stopped != 0)


def ask_all(schemathesis, origin):
    token = origin.join("ada@example.org", "admin")
    furnish(origin, token)
    but_ending = [part for path in ENDING for part in ("--exclude-path", path)]
    failed = ask(schemathesis, origin, token, *but_ending)
    for number, path in enumerate(ENDING):
        token = origin.join(f"admin{number}@example.org", "admin")
        failed |= ask(schemathesis, origin, token, "--include-path", path)
    return failed


main()
