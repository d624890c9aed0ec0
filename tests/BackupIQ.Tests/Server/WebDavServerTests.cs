using System.Net;
using System.Net.Http.Headers;
using System.Net.Sockets;
using System.Security.Cryptography.X509Certificates;
using System.Text;
using System.Xml.Linq;
using BackupIQ.Jobs.Browsing;
using BackupIQ.Primitives;
using BackupIQ.Server.WebDav;
using BackupIQ.Testing.Files;
using Shouldly;
using Xunit;

namespace BackupIQ.Tests.Server;

/// <summary>Snapshots served by WebDAV, asked over real connections.</summary>
public sealed class WebDavServerTests : IAsyncLifetime
{
    private const string Token = "a token of more than sixteen characters";

    private static readonly XNamespace Dav = "DAV:";

    private readonly ServedRepository _served = new();
    private readonly List<string> _failures = [];
    private readonly Secret _token = new(Encoding.UTF8.GetBytes(Token));
    private readonly HttpClient _client = new(new SocketsHttpHandler { AllowAutoRedirect = false });
    private WebDavServer? _server;

    public ValueTask InitializeAsync() => ValueTask.CompletedTask;

    public async ValueTask DisposeAsync()
    {
        _client.Dispose();
        if (_server is not null)
        {
            await _server.DisposeAsync();
        }

        _token.Dispose();
        await _served.DisposeAsync();
    }

    [Fact]
    public async Task NobodyIsLetInWithoutTheToken()
    {
        await BackUpAndStartAsync();
        _client.DefaultRequestHeaders.Authorization = null;
        foreach (AuthenticationHeaderValue? wrong in (AuthenticationHeaderValue?[])
        [
            null, new("Basic", Base64("backupiq:wrong")), new("Basic", Base64(Token)), new("Basic", "?"), new("Bearer", Token + "x"), new("Digest", Token),
        ])
        {
            _client.DefaultRequestHeaders.Authorization = wrong;
            foreach (string method in (string[])["GET", "PROPFIND", "OPTIONS", "PUT"])
            {
                using HttpResponseMessage refused = await SendAsync(method, "/");
                refused.StatusCode.ShouldBe(HttpStatusCode.Unauthorized, $"{method} with {wrong}");
                refused.Headers.WwwAuthenticate.ShouldHaveSingleItem().Scheme.ShouldBe("Basic");
            }
        }

        foreach (AuthenticationHeaderValue right in (AuthenticationHeaderValue[])[new("Bearer", Token), new("basic", Base64("anybody:" + Token)), new("Basic", Base64(":" + Token))])
        {
            _client.DefaultRequestHeaders.Authorization = right;
            (await SendAsync("OPTIONS", "/")).StatusCode.ShouldBe(HttpStatusCode.OK);
        }
    }

    [Fact]
    public async Task EveryFileOfATreeOfOddNamesComesAsItIs()
    {
        EveryKindOfEntryTree.Fill(_served.Root);
        ScratchFolder.Run("find", _served.Root, "-type", "f", "-size", "+100M", "-delete");
        await BackUpAndStartAsync();

        Dictionary<string, byte[]> found = [];
        await CollectAsync("/", "", found);

        string[] files = ScratchFolder.Run("find", _served.Root, "-type", "f", "-printf", "x").Select(static x => x.ToString()).ToArray();
        found.Count.ShouldBe(files.Length);
        foreach ((string path, byte[] content) in found)
        {
            // What the URL spells is the very name on disk.
            byte[] name = [.. Encoding.UTF8.GetBytes(_served.Root), .. path.Split('/').Skip(1).SelectMany(static part => (byte[])[(byte)'/', .. ViewNames.Read(Uri.UnescapeDataString(part))])];
            ContentOf(name).AsSpan().SequenceEqual(content).ShouldBeTrue(path);
        }
    }

    [Fact]
    public async Task PartsOfAFileAndWhatHasNotChangedAreToldAsHttpWantsIt()
    {
        byte[] content = _served.WriteRandom("folder/file", 5_000_000, seed: 1);
        await BackUpAndStartAsync();

        using HttpResponseMessage whole = await SendAsync("GET", "/folder/file");
        (await whole.Content.ReadAsByteArrayAsync()).AsSpan().SequenceEqual(content).ShouldBeTrue();
        whole.Headers.AcceptRanges.ShouldContain("bytes");
        EntityTagHeaderValue tag = whole.Headers.ETag!;
        Random random = new(2);
        for (int i = 0; i < 40; i++)
        {
            int from = random.Next(content.Length);
            int to = Math.Min(content.Length - 1, from + random.Next(1, 600_000));
            using HttpResponseMessage part = await SendAsync("GET", "/folder/file", request => request.Headers.Range = new RangeHeaderValue(from, to));
            part.StatusCode.ShouldBe(HttpStatusCode.PartialContent);
            part.Content.Headers.ContentRange!.Length.ShouldBe(content.Length);
            (await part.Content.ReadAsByteArrayAsync()).AsSpan().SequenceEqual(content.AsSpan(from, to - from + 1)).ShouldBeTrue($"{from} to {to}");
        }

        using HttpResponseMessage tail = await SendAsync("GET", "/folder/file", static request => request.Headers.Range = new RangeHeaderValue(null, 1000));
        (await tail.Content.ReadAsByteArrayAsync()).AsSpan().SequenceEqual(content.AsSpan(content.Length - 1000)).ShouldBeTrue();
        (await SendAsync("GET", "/folder/file", request => request.Headers.Range = new RangeHeaderValue(content.Length, null))).StatusCode.ShouldBe(HttpStatusCode.RequestedRangeNotSatisfiable);
        (await SendAsync("GET", "/folder/file", request => request.Headers.IfNoneMatch.Add(tag))).StatusCode.ShouldBe(HttpStatusCode.NotModified);
        using HttpResponseMessage head = await SendAsync("HEAD", "/folder/file");
        head.Content.Headers.ContentLength.ShouldBe(content.Length);
        using HttpResponseMessage other = await SendAsync("GET", "/folder/file", static request =>
        {
            request.Headers.Range = new RangeHeaderValue(0, 9);
            request.Headers.IfRange = new RangeConditionHeaderValue("\"another\"");
        });
        other.StatusCode.ShouldBe(HttpStatusCode.OK);
    }

    [Fact]
    public async Task PropertiesAreThoseThatWereAskedFor()
    {
        _served.WriteRandom("folder/file", 1234, seed: 1);
        await BackUpAndStartAsync();

        XElement some = await PropfindAsync(
            "/folder/file", "0", "<D:propfind xmlns:D='DAV:'><D:prop><D:getcontentlength/><x:unknown xmlns:x='urn:x'/></D:prop></D:propfind>");
        XElement[] parts = [.. some.Elements(Dav + "response").Single().Elements(Dav + "propstat")];
        parts.Select(static part => part.Element(Dav + "status")!.Value).ShouldBe(["HTTP/1.1 200 OK", "HTTP/1.1 404 Not Found"]);
        parts[0].Descendants(Dav + "getcontentlength").Single().Value.ShouldBe("1234");
        parts[1].Element(Dav + "prop")!.Elements().Single().Name.ShouldBe(XName.Get("unknown", "urn:x"));

        XElement names = await PropfindAsync("/folder/file", "0", "<propfind xmlns='DAV:'><propname/></propfind>");
        names.Descendants(Dav + "prop").Single().Elements().ShouldAllBe(static property => property.IsEmpty);
        XElement all = await PropfindAsync("/", "1", "");
        all.Elements(Dav + "response").Select(static response => response.Element(Dav + "href")!.Value).ShouldBe(["/", "/folder/"]);
        all.Descendants(Dav + "collection").Count().ShouldBe(2);
    }

    [Fact]
    public async Task ALargeFolderIsListedWholeForProgramsAndForPeople()
    {
        Directory.CreateDirectory(_served.In("wide"));
        EveryKindOfEntryTree.FillWide(_served.In("wide"), 12_000);
        await BackUpAndStartAsync();

        string[] names = await NamesAsync("/wide/");
        names.ShouldBe(Directory.EnumerateFiles(_served.In("wide")).Select(static path => Path.GetFileName(path)).Order(StringComparer.Ordinal));
        string page = await (await SendAsync("GET", "/wide/")).Content.ReadAsStringAsync();
        page.Split("<a href=\"./").Length.ShouldBe(12_001);
    }

    [Fact]
    public async Task APathAsLongAsLinuxHasThemIsServed()
    {
        // 15 folders of 255 bytes, none of them UTF-8.
        byte[] name = [.. Enumerable.Repeat((byte)0xfe, 255)];
        EveryKindOfEntryTree.FillDeep(_served.Root, 15, name);
        await BackUpAndStartAsync();

        string url = string.Concat(Enumerable.Repeat("/" + string.Concat(Enumerable.Repeat("%25FE", 255)), 15));
        (await (await SendAsync("GET", url + "/bottom")).Content.ReadAsStringAsync()).ShouldBe("at the bottom");
    }

    [Theory]
    [InlineData("<propfind xmlns='DAV:'><prop><a></propfind>")]
    [InlineData("<D:propfind xmlns:D='DAV:'><D:prop><x:y xmlns:x=''/></D:prop></D:propfind>")]
    [InlineData("<!DOCTYPE propfind [<!ENTITY a SYSTEM 'file:///etc/passwd'>]><propfind xmlns='DAV:'><prop><b>&a;</b></prop></propfind>")]
    [InlineData("<other xmlns='DAV:'/>")]
    [InlineData("no XML")]
    public async Task AMalformedQuestionIsRefused(string body)
    {
        await BackUpAndStartAsync();

        (await SendAsync("PROPFIND", "/", request =>
        {
            request.Headers.Add("Depth", "0");
            request.Content = new StringContent(body, Encoding.UTF8, "application/xml");
        })).StatusCode.ShouldBe(HttpStatusCode.BadRequest);
    }

    [Fact]
    public async Task ALongQuestionAndAnEndlessDepthAreRefused()
    {
        await BackUpAndStartAsync();
        (await SendAsync("PROPFIND", "/", static request => request.Content = new ByteArrayContent(new byte[100_000]))).StatusCode.ShouldBe(HttpStatusCode.RequestEntityTooLarge);
        using HttpResponseMessage deep = await SendAsync("PROPFIND", "/", static request => request.Headers.Add("Depth", "infinity"));
        deep.StatusCode.ShouldBe(HttpStatusCode.Forbidden);
        (await deep.Content.ReadAsStringAsync()).ShouldContain("propfind-finite-depth");
    }

    [Theory]
    [InlineData("PUT")]
    [InlineData("DELETE")]
    [InlineData("MKCOL")]
    [InlineData("MOVE")]
    [InlineData("COPY")]
    [InlineData("PROPPATCH")]
    [InlineData("LOCK")]
    public async Task NothingCanBeChanged(string method)
    {
        byte[] content = _served.WriteRandom("file", 1000, seed: 1);
        await BackUpAndStartAsync();
        (await SendAsync(method, "/file", static request => request.Headers.Add("Destination", "/other"))).StatusCode.ShouldBe(HttpStatusCode.Forbidden);
        (await SendAsync("BREW", "/file")).StatusCode.ShouldBe(HttpStatusCode.MethodNotAllowed);
        (await (await SendAsync("GET", "/file")).Content.ReadAsByteArrayAsync()).ShouldBe(content);
    }

    [Theory]
    [InlineData("/../../etc/passwd", 404)]
    [InlineData("/folder/%2e%2e/%2e%2e/etc/passwd", 404)]
    [InlineData("/folder%2ffile", 404)]
    [InlineData("/folder/file%00", 400)]
    [InlineData("/folder/file/deeper", 404)]
    [InlineData("/nothing", 404)]
    [InlineData("/folder//file", 200)]
    [InlineData("http://x/folder/file?query", 200)]
    [InlineData("http://x?/folder/file", 200)]
    [InlineData("/folder", 301)]
    public async Task APathLeadsWhereItSaysAndNowhereElse(string target, int expected)
    {
        _served.WriteRandom("folder/file", 10, seed: 1);
        await BackUpAndStartAsync();

        // Written by hand: a client would tidy the path up.
        string status = await RawAsync($"GET {target} HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {Token}\r\nConnection: close\r\n\r\n");

        status.ShouldStartWith($"HTTP/1.1 {expected}");
    }

    [Fact]
    public async Task AnAnswerThatMeetsDamageIsCutOffAndNeverWrong()
    {
        byte[] content = _served.WriteRandom("damaged", 12_000_000, seed: 1);
        await BackUpAndStartAsync();
        foreach (string pack in Directory.GetFiles(Path.Combine(_served.RepositoryPath, "d"), "*", SearchOption.AllDirectories))
        {
            ScratchFolder.Run("chmod", "0600", pack);
            using FileStream stream = File.Open(pack, FileMode.Open, FileAccess.ReadWrite);
            stream.Position = stream.Length / 2;
            int old = stream.ReadByte();
            stream.Position--;
            stream.WriteByte((byte)~old);
        }

        using HttpResponseMessage response = await SendAsync("GET", "/damaged", completion: HttpCompletionOption.ResponseHeadersRead);
        response.StatusCode.ShouldBe(HttpStatusCode.OK);
        using MemoryStream got = new();
        await Should.ThrowAsync<IOException>(async () => await (await response.Content.ReadAsStreamAsync()).CopyToAsync(got));

        got.Length.ShouldBeInRange(1_000_000, 11_999_999);
        content.AsSpan(0, (int)got.Length).SequenceEqual(got.ToArray()).ShouldBeTrue();
        _failures.ShouldHaveSingleItem().ShouldContain("damaged");
    }

    [Fact]
    public async Task AFileWhosePackIsGoneIsAFailureAndNotMissing()
    {
        _served.WriteRandom("lost", 3_000_000, seed: 1);
        await BackUpAndStartAsync();
        Directory.Delete(Path.Combine(_served.RepositoryPath, "d"), recursive: true);

        using HttpResponseMessage response = await SendAsync("GET", "/lost", completion: HttpCompletionOption.ResponseHeadersRead);

        if (response.StatusCode == HttpStatusCode.OK)
        {
            // The length is known before a byte is read.
            await Should.ThrowAsync<IOException>(async () => await (await response.Content.ReadAsStreamAsync()).CopyToAsync(Stream.Null));
        }
        else
        {
            ((int)response.StatusCode).ShouldBeGreaterThanOrEqualTo(500);
        }

        _failures.ShouldNotBeEmpty();
    }

    [Fact]
    public async Task SnapshotsAreFoundByTimeHostAndTagAndNewOnesAppear()
    {
        _served.WriteRandom("file", 10, seed: 1);
        await _served.BackUpAsync("ada", "daily");
        await StartAsync(await _served.ViewAsync());
        (await NamesAsync("/")).ShouldBe(["hosts", "latest", "snapshots", "tags"]);
        (await NamesAsync("/hosts/")).ShouldBe(["ada"]);
        (await NamesAsync("/tags/daily/")).Length.ShouldBe(1);
        (await NamesAsync("/latest" + _served.Root)).ShouldBe(["file"]);

        byte[] later = _served.WriteRandom("later", 300_000, seed: 2);
        await _served.BackUpAsync("ben", "a/b", "..");
        (await NamesAsync("/snapshots/")).Length.ShouldBe(1);
        _served.Time.Advance(TimeSpan.FromSeconds(11));

        (await NamesAsync("/snapshots/")).Length.ShouldBe(2);
        (await NamesAsync("/hosts/")).ShouldBe(["ada", "ben"]);
        (await NamesAsync("/tags/")).ShouldBe(["%2E%2E", "a%2Fb", "daily"]);
        (await (await SendAsync("GET", "/latest" + _served.Root + "/later")).Content.ReadAsByteArrayAsync()).ShouldBe(later);
        (await SendAsync("GET", "/tags/a%25252Fb/")).StatusCode.ShouldBe(HttpStatusCode.OK);
    }

    [Fact]
    public async Task APageForPeopleShowsNamesAsTextOnly()
    {
        _served.WriteRandom("<img src=x onerror=alert(1)>", 10, seed: 1);
        _served.WriteRandom("a folder/file", 10, seed: 2);
        await BackUpAndStartAsync();

        string page = await (await SendAsync("GET", "/")).Content.ReadAsStringAsync();

        page.ShouldContain("&lt;img src=x onerror=alert(1)&gt;");
        page.ShouldNotContain("<img");
        using HttpResponseMessage folder = await SendAsync("GET", "/" + Uri.EscapeDataString("a folder"));
        folder.StatusCode.ShouldBe(HttpStatusCode.MovedPermanently);
        folder.Headers.Location!.OriginalString.ShouldBe("/a%20folder/");
        using HttpResponseMessage file = await SendAsync("GET", "/%3Cimg%20src=x%20onerror=alert(1)%3E");
        file.Content.Headers.ContentType!.MediaType.ShouldBe("application/octet-stream");
        file.Headers.GetValues("X-Content-Type-Options").ShouldBe(["nosniff"]);
    }

    [Fact]
    public async Task BeyondThisMachineThereIsNoPlainHttpUnlessItIsWanted()
    {
        await _served.BackUpAsync();
        RepositoryView view = await _served.ViewAsync();
        WebDavOptions open = new() { Token = _token, Endpoint = new IPEndPoint(IPAddress.Any, 0) };
        (await Should.ThrowAsync<BackupIQException>(() => WebDavServer.StartAsync(view, open, Fail, CancellationToken.None))).Code.ShouldBe(ErrorCodes.Usage);
        using Secret weak = new("short"u8);
        (await Should.ThrowAsync<BackupIQException>(() => WebDavServer.StartAsync(view, open with { Token = weak, AllowPlain = true }, Fail, CancellationToken.None))).Code.ShouldBe(ErrorCodes.Usage);
        await using (await WebDavServer.StartAsync(view, open with { AllowPlain = true }, Fail, CancellationToken.None))
        {
        }

        string folder = _served.Scratch.Path;
        ScratchFolder.Run(
            "openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "2", "-subj", "/CN=localhost", "-addext", "subjectAltName=IP:127.0.0.1",
            "-keyout", Path.Combine(folder, "key.pem"), "-out", Path.Combine(folder, "cert.pem"));
        WebDavOptions sealedOptions = open with { CertificateFile = Path.Combine(folder, "cert.pem"), KeyFile = Path.Combine(folder, "key.pem") };
        await using WebDavServer server = await WebDavServer.StartAsync(view, sealedOptions, Fail, CancellationToken.None);
        using HttpClient unknowing = new();
        await Should.ThrowAsync<HttpRequestException>(() => unknowing.GetAsync(new Uri($"https://127.0.0.1:{server.Address.Port}/")));
        X509ChainPolicy trusted = new() { TrustMode = X509ChainTrustMode.CustomRootTrust, RevocationMode = X509RevocationMode.NoCheck };
        trusted.CustomTrustStore.ImportFromPemFile(Path.Combine(folder, "cert.pem"));
        using HttpClient client = new(new SocketsHttpHandler { SslOptions = { CertificateChainPolicy = trusted } });
        client.DefaultRequestHeaders.Authorization = new AuthenticationHeaderValue("Bearer", Token);
        (await client.GetAsync(new Uri($"https://127.0.0.1:{server.Address.Port}/"))).StatusCode.ShouldBe(HttpStatusCode.OK);
    }

    [Fact]
    public async Task TheCertificatesThatVouchForTheServersOwnAreSent()
    {
        await _served.BackUpAsync();
        string folder = _served.Scratch.Path;
        string At(string name) => Path.Combine(folder, name);
        File.WriteAllText(At("ca.ext"), "basicConstraints=critical,CA:true\n");
        File.WriteAllText(At("own.ext"), "subjectAltName=IP:127.0.0.1\n");
        string[] key = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"];
        ScratchFolder.Run("openssl", ["req", "-x509", .. key, "-days", "2", "-subj", "/CN=root", "-keyout", At("root.key"), "-out", At("root.pem")]);
        foreach ((string name, string above, string extensions) in ((string, string, string)[])[("middle", "root", "ca.ext"), ("own", "middle", "own.ext")])
        {
            ScratchFolder.Run("openssl", ["req", .. key, "-subj", "/CN=" + name, "-keyout", At(name + ".key"), "-out", At(name + ".csr")]);
            ScratchFolder.Run(
                "openssl", "x509", "-req", "-in", At(name + ".csr"), "-CA", At(above + ".pem"), "-CAkey", At(above + ".key"), "-CAcreateserial", "-days", "2", "-extfile", At(extensions),
                "-out", At(name + ".pem"));
        }

        File.WriteAllText(At("chain.pem"), File.ReadAllText(At("own.pem")) + File.ReadAllText(At("middle.pem")));
        WebDavOptions options = new() { Token = _token, Endpoint = new IPEndPoint(IPAddress.Loopback, 0), CertificateFile = At("chain.pem"), KeyFile = At("own.key") };
        await using WebDavServer server = await WebDavServer.StartAsync(await _served.ViewAsync(), options, Fail, CancellationToken.None);

        ScratchFolder.Run("curl", "-sf", "--cacert", At("root.pem"), "-u", "user:" + Token, $"https://127.0.0.1:{server.Address.Port}/").ShouldContain("latest");
        BackupIQException broken = await Should.ThrowAsync<BackupIQException>(async () =>
            await WebDavServer.StartAsync(await _served.ViewAsync(), options with { KeyFile = At("root.key") }, Fail, CancellationToken.None));
        broken.Code.ShouldBe(ErrorCodes.Usage);
    }

    [Fact]
    public async Task AnAddressThatIsTakenIsSaid()
    {
        await BackUpAndStartAsync();
        WebDavOptions same = new() { Token = _token, Endpoint = new IPEndPoint(IPAddress.Loopback, _server!.Address.Port) };

        BackupIQException failure = await Should.ThrowAsync<BackupIQException>(async () =>
            await WebDavServer.StartAsync(await _served.ViewOfRootAsync(), same, Fail, CancellationToken.None));

        failure.Code.ShouldBe(ErrorCodes.Resource);
        failure.Details["address"].ShouldContain($"{_server.Address.Port}");
    }

    [Fact]
    public async Task ManyReadersAtOnceGetEachItsOwn()
    {
        byte[][] contents = [.. Enumerable.Range(0, 8).Select(i => _served.WriteRandom($"file {i}", 4_000_000, seed: i))];
        await BackUpAndStartAsync();

        byte[][] got = await Task.WhenAll(Enumerable.Range(0, 24).Select(async i => await (await SendAsync("GET", $"/file%20{i % 8}")).Content.ReadAsByteArrayAsync()));

        for (int i = 0; i < got.Length; i++)
        {
            got[i].AsSpan().SequenceEqual(contents[i % 8]).ShouldBeTrue($"reader {i}");
        }
    }

    private static string Base64(string text) => Convert.ToBase64String(Encoding.UTF8.GetBytes(text));

    private static byte[] ContentOf(byte[] path)
    {
        // Through the shell: .NET cannot name a file that is not UTF-8.
        using System.Diagnostics.Process process = System.Diagnostics.Process.Start(
            new System.Diagnostics.ProcessStartInfo("/bin/sh", ["-c", "cat -- \"$(printf '%b.' \"$0\" | head -c -1)\"", Escaped(path)]) { RedirectStandardOutput = true, UseShellExecute = false })!;
        using MemoryStream content = new();
        process.StandardOutput.BaseStream.CopyTo(content);
        process.WaitForExit();
        process.ExitCode.ShouldBe(0, Encoding.UTF8.GetString(path));
        return content.ToArray();
    }

    private static string Escaped(byte[] path) => string.Concat(path.Select(static b => $"\\0{Convert.ToString(b, 8).PadLeft(3, '0')}"));

    private void Fail(string path, BackupIQException failure) => _failures.Add($"{path}: {failure.Code}");

    private async Task BackUpAndStartAsync()
    {
        await _served.BackUpAsync();
        await StartAsync(await _served.ViewOfRootAsync());
    }

    private async Task StartAsync(RepositoryView view)
    {
        _server = await WebDavServer.StartAsync(view, new WebDavOptions { Token = _token, Endpoint = new IPEndPoint(IPAddress.Loopback, 0) }, Fail, CancellationToken.None);
        _client.BaseAddress = _server.Address;
        _client.DefaultRequestHeaders.Authorization = new AuthenticationHeaderValue("Bearer", Token);
    }

    private async Task<HttpResponseMessage> SendAsync(
        string method, string path, Action<HttpRequestMessage>? change = null, HttpCompletionOption completion = HttpCompletionOption.ResponseContentRead)
    {
        HttpRequestMessage request = new(new HttpMethod(method), new Uri(_server!.Address, path));
        change?.Invoke(request);
        return await _client.SendAsync(request, completion);
    }

    private async Task<XElement> PropfindAsync(string path, string depth, string body)
    {
        using HttpResponseMessage response = await SendAsync("PROPFIND", path, request =>
        {
            request.Headers.Add("Depth", depth);
            request.Content = body.Length == 0 ? null : new StringContent(body, Encoding.UTF8, "application/xml");
        });
        response.StatusCode.ShouldBe(HttpStatusCode.MultiStatus);
        return XElement.Parse(await response.Content.ReadAsStringAsync());
    }

    private async Task<string[]> NamesAsync(string path) =>
    [
        .. (await PropfindAsync(path, "1", "")).Elements(Dav + "response").Skip(1)
            .Select(static response => Encoding.UTF8.GetString(ViewNames.Read(Uri.UnescapeDataString(response.Element(Dav + "href")!.Value.TrimEnd('/').Split('/')[^1])))),
    ];

    private async Task CollectAsync(string path, string shown, Dictionary<string, byte[]> found)
    {
        foreach (XElement response in (await PropfindAsync(path, "1", "")).Elements(Dav + "response").Skip(1))
        {
            string href = response.Element(Dav + "href")!.Value;
            if (response.Descendants(Dav + "collection").Any())
            {
                await CollectAsync(href, shown, found);
            }
            else
            {
                found.Add(href, await (await SendAsync("GET", href)).Content.ReadAsByteArrayAsync());
            }
        }
    }

    private async Task<string> RawAsync(string request)
    {
        using TcpClient connection = new();
        await connection.ConnectAsync(IPAddress.Loopback, _server!.Address.Port);
        await connection.GetStream().WriteAsync(Encoding.ASCII.GetBytes(request));
        using StreamReader reader = new(connection.GetStream(), Encoding.Latin1);
        return await reader.ReadToEndAsync();
    }
}
