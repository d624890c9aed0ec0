using BackupIQ.Testing.Files;

namespace BackupIQ.Testing.Servers;

/// <summary>
/// A FAKE rclone that says it has iCloud Drive: a script that answers the calls which BackupIQ makes, over a folder. It stands for the wiring alone, since
/// nobody here has an Apple account to test with; what iCloud does is not in it. Its words on the trust token are those in rclone's sources.
/// </summary>
public sealed class FakeRclone : IDisposable
{
    private const string Script = """
        #!/usr/bin/env python3
        # FAKE: no rclone. Answers what BackupIQ asks of one, over the folder FAKE_ICLOUD.
        import base64, cgi, datetime, http.server, json, os, re, shutil, sys, urllib.parse, warnings
        root = os.environ.get("FAKE_ICLOUD", "")
        if sys.argv[1:] == ["help", "backends"]:
            print("All rclone backends:\n\n  iclouddrive  iCloud Drive (FAKE)")
            sys.exit(0)
        if sys.argv[1:2] != ["rcd"]:
            sys.exit("fake rclone: unknown command")
        base = os.environ["RCLONE_CONFIG_BACKUPIQSTORAGE_REMOTE"]
        if not base.startswith("icloud:"):
            sys.exit("fake rclone: didn't find section in config file")
        base = os.path.join(root, base[len("icloud:"):])
        expected = "Basic " + base64.b64encode((os.environ["RCLONE_RC_USER"] + ":" + os.environ["RCLONE_RC_PASS"]).encode()).decode()

        def entry(path):
            full = os.path.join(base, path)
            status = os.stat(full)
            folder = os.path.isdir(full)
            time = datetime.datetime.fromtimestamp(status.st_mtime, datetime.timezone.utc).isoformat()
            return {"Path": path, "Name": os.path.basename(path), "Size": -1 if folder else status.st_size, "ModTime": time, "IsDir": folder}

        class Handler(http.server.BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"
            def log_message(self, *_): pass
            def answer(self, status, body, headers={}):
                data = body if isinstance(body, bytes) else json.dumps(body).encode()
                self.send_response(status)
                for name, value in headers.items(): self.send_header(name, value)
                self.send_header("Content-Length", str(len(data)))
                self.end_headers()
                self.wfile.write(data)
            def fail(self, status, text): self.answer(status, {"error": text, "status": status})
            def is_allowed(self):
                if self.headers.get("Authorization") != expected:
                    self.fail(401, "unauthorized")
                    return False
                if os.path.exists(os.path.join(root, "trust-has-ended")):
                    self.fail(500, 'missing icloud trust token: try refreshing it with "rclone config reconnect icloud:"')
                    return False
                return True
            def do_GET(self):
                if not self.is_allowed(): return
                path = os.path.join(base, urllib.parse.unquote(self.path).split("]/", 1)[1])
                if not os.path.isfile(path): return self.fail(404, "failed to find object: object not found")
                first, last = map(int, re.match(r"bytes=(\d+)-(\d+)", self.headers["Range"]).groups())
                data = open(path, "rb").read()
                part = data[first:last + 1]
                self.answer(206, part, {"Content-Range": "bytes %d-%d/%d" % (first, first + len(part) - 1, len(data))})
            def do_POST(self):
                command, _, query = self.path.lstrip("/").partition("?")
                if command == "operations/uploadfile":
                    if not self.is_allowed(): return
                    with warnings.catch_warnings():
                        warnings.simplefilter("ignore")
                        form = cgi.FieldStorage(fp=self.rfile, headers=self.headers, environ={"REQUEST_METHOD": "POST", "CONTENT_TYPE": self.headers["Content-Type"], "CONTENT_LENGTH": self.headers["Content-Length"]})
                    folder = os.path.join(base, urllib.parse.parse_qs(query)["remote"][0])
                    os.makedirs(folder, exist_ok=True)
                    with open(os.path.join(folder, form["file"].filename), "wb") as file: shutil.copyfileobj(form["file"].file, file)
                    return self.answer(200, {})
                asked = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                if not self.is_allowed(): return
                path = os.path.join(base, asked.get("remote", ""))
                if command == "core/version": self.answer(200, {"version": "v1.69.0-FAKE"})
                elif command == "config/providers": self.answer(200, {"providers": [{"Name": "iclouddrive"}]})
                elif command == "operations/fsinfo": self.answer(200, {"Features": {"Move": True, "CanHaveEmptyDirectories": True}})
                elif command == "operations/about": self.fail(500, "iCloud Drive root doesn't support about")
                elif command == "operations/stat": self.answer(200, {"item": entry(asked["remote"]) if os.path.exists(path) else None})
                elif command == "operations/deletefile":
                    if not os.path.isfile(path): return self.fail(404, "object not found")
                    os.remove(path)
                    self.answer(200, {})
                elif command == "operations/movefile":
                    target = os.path.join(base, asked["dstRemote"])
                    os.makedirs(os.path.dirname(target), exist_ok=True)
                    os.rename(os.path.join(base, asked["srcRemote"]), target)
                    self.answer(200, {})
                elif command == "operations/list":
                    if not os.path.isdir(path): return self.fail(404, "error in ListJSON: directory not found")
                    found = []
                    for folder, folders, files in os.walk(path):
                        found += [entry(os.path.relpath(os.path.join(folder, name), base)) for name in files]
                        if not asked["opt"]["recurse"]: break
                    self.answer(200, {"list": found})
                else: self.fail(404, "couldn't find method")

        server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        print("NOTICE: Serving remote control on http://127.0.0.1:%d/" % server.server_port, file=sys.stderr, flush=True)
        server.serve_forever()
        """;

    private readonly ScratchFolder _scratch = new();

    /// <summary>Writes the script.</summary>
    public FakeRclone()
    {
        Directory.CreateDirectory(Drive);
        Directory.CreateDirectory(Folder);
        string script = System.IO.Path.Combine(Folder, "rclone");
        File.WriteAllText(script, Script);
        ScratchFolder.Run("chmod", "0500", script);
    }

    /// <summary>The folder of the script, to be put first into PATH.</summary>
    public string Folder => _scratch.At("bin");

    /// <summary>What stands for the drive; the variable <c>FAKE_ICLOUD</c> names it.</summary>
    public string Drive => _scratch.At("drive");

    /// <summary>From now on it asks for a two-factor code again.</summary>
    public void EndTrust() => File.WriteAllText(System.IO.Path.Combine(Drive, "trust-has-ended"), "");

    /// <inheritdoc/>
    public void Dispose() => _scratch.Dispose();
}
