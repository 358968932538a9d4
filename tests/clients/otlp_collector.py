"""A collector of traces by `opentelemetry-proto`, the official messages: python otlp_collector.py PORT [CERTIFICATE KEY].

PORT 0 is any that is free; with the two files, PEM, it speaks TLS.
Writes `{"event": "listening", "port"}`, and of each request that it takes its headers and each span as a JSON object a line. Reads lines:
`answer STATUS [RETRY_AFTER]` is what it answers from then on (200 at first; spans of other answers are not written, `refused` is), `partial N`
that it takes all but N spans, `hang` that it answers nothing. It answers each line with `{"event": "set"}`.
"""

import json
import ssl
import sys
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from opentelemetry.proto.collector.trace.v1 import trace_service_pb2
from opentelemetry.proto.trace.v1 import trace_pb2

plan = {"status": 200, "retry_after": None, "rejected": 0, "hangs": False}
lock = threading.Lock()


def say(event, **more):
    with lock:
        print(json.dumps({"event": event, **more}), flush=True)


def attributes(pairs):
    return {pair.key: getattr(pair.value, pair.value.WhichOneof("value")) for pair in pairs}


def say_spans(request):
    for of_resource in request.resource_spans:
        resource = attributes(of_resource.resource.attributes)
        for of_scope in of_resource.scope_spans:
            for span in of_scope.spans:
                say(
                    "span",
                    resource=resource,
                    scope=of_scope.scope.name,
                    trace=span.trace_id.hex(),
                    span=span.span_id.hex(),
                    parent=span.parent_span_id.hex(),
                    name=span.name,
                    kind=trace_pb2.Span.SpanKind.Name(span.kind),
                    begun=span.start_time_unix_nano,
                    ended=span.end_time_unix_nano,
                    attributes=attributes(span.attributes),
                    status=trace_pb2.Status.StatusCode.Name(span.status.code),
                    flags=span.flags,
                )


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_POST(self):
        body = self.rfile.read(int(self.headers["Content-Length"]))
        if plan["hangs"]:
            threading.Event().wait()
        request = trace_service_pb2.ExportTraceServiceRequest.FromString(body)
        response = trace_service_pb2.ExportTraceServiceResponse()
        if plan["status"] == 200:
            response.partial_success.rejected_spans = plan["rejected"]
            headers = {name.lower(): value for name, value in self.headers.items()}
            say("request", path=self.path, headers=headers)
            say_spans(request)
        else:
            say("refused", status=plan["status"])
        answer = response.SerializeToString()
        self.send_response(plan["status"])
        if plan["retry_after"]:
            self.send_header("Retry-After", plan["retry_after"])
        self.send_header("Content-Type", "application/x-protobuf")
        self.send_header("Content-Length", str(len(answer)))
        self.end_headers()
        self.wfile.write(answer)

    def log_message(self, *_):
        pass


server = ThreadingHTTPServer(("127.0.0.1", int(sys.argv[1])), Handler)
server.daemon_threads = True
if sys.argv[2:]:
    tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    tls.load_cert_chain(*sys.argv[2:])
    server.socket = tls.wrap_socket(server.socket, server_side=True)
threading.Thread(target=server.serve_forever, daemon=True).start()
say("listening", port=server.server_address[1])
for line in sys.stdin:
    command, *words = line.split()
    if command == "answer":
        plan.update(status=int(words[0]), retry_after=words[1] if len(words) > 1 else None, hangs=False)
    elif command == "partial":
        plan["rejected"] = int(words[0])
    elif command == "hang":
        plan["hangs"] = True
    say("set")
