using System.Diagnostics;
using System.Globalization;
using System.Net;
using System.Net.Sockets;
using Amazon.Runtime;
using Amazon.S3;
using Amazon.S3.Model;

namespace BackupIQ.Testing.Servers;

/// <summary>
/// A real S3 server for tests: Ceph's radosgw with a monitor and an object store in memory, as child processes on ports of this machine alone. One for a
/// whole run of tests (an assembly fixture), started when the first test asks for it. Where its programs are missing tests are skipped, unless
/// <c>BACKUPIQ_REQUIRE_SERVERS</c> says that they must not be.
/// </summary>
public sealed class RadosGateway : IServerControl, IAsyncDisposable
{
    /// <summary>The id of the one account.</summary>
    public const string AccessKey = "ciaccess";

    /// <summary>Its secret: long and odd, so that tests can look for it in what the program says.</summary>
    public const string SecretKey = "cisecret4Zq7Yw2Kp9Xv5Tn8";

    /// <summary>The variables that open it.</summary>
    public static IReadOnlyDictionary<string, string> Environment { get; } =
        new Dictionary<string, string>(StringComparer.Ordinal) { ["AWS_ACCESS_KEY_ID"] = AccessKey, ["AWS_SECRET_ACCESS_KEY"] = SecretKey };

    /// <summary>A key of the server's own key service, for SSE-KMS.</summary>
    public const string KmsKey = "testkey-1";

    /// <summary>Names of profiles that the SDK finds in this process; <see cref="MakeUserAsync"/> makes their accounts.</summary>
    public static readonly IReadOnlyList<string> Profiles = ["writer", "maintainer", "reader"];

    private static readonly string[] Programs = ["radosgw", "radosgw-admin", "ceph", "ceph-mon", "ceph-osd", "ceph-authtool", "monmaptool"];
    private static readonly TimeSpan StartWithin = TimeSpan.FromMinutes(2);

    private readonly Lock _gate = new();
    private readonly List<Process> _daemons = [];
    // Short, for the sockets in it: their paths are at most 107 bytes.
    private readonly string _folder = Path.Join("/tmp", $"biq-rgw-{Guid.NewGuid():n}"[..20]);
    private Task? _started;
    private int _buckets;

    /// <summary>Starts nothing yet. The <see cref="Profiles"/> are where the SDK in this process looks for them, which it does once.</summary>
    public RadosGateway() => System.Environment.SetEnvironmentVariable("AWS_SHARED_CREDENTIALS_FILE", CredentialsFile);

    /// <summary>
    /// Whether objects are kept on disk, by BlueStore, so that they outlive a <see cref="Kill"/>; slower to start and to use. It has room for 16 GiB, in memory for 4: a store that is full answers
    /// to no put any more, as if it hung.
    /// </summary>
    public bool IsDurable { get; init; }

    /// <summary>Plain HTTP.</summary>
    public Uri Endpoint { get; private set; } = null!;

    /// <summary>TLS with a certificate of an authority that nobody trusts: <see cref="AuthorityFile"/>.</summary>
    public Uri TlsEndpoint { get; private set; } = null!;

    /// <summary>The authority's certificate.</summary>
    public string AuthorityFile => Path.Join(_folder, "ca.pem");

    private string CredentialsFile => Path.Join(_folder, "credentials");

    /// <summary>A client of its own, for what the product does not do: making buckets, looking behind it. The caller disposes it.</summary>
    public AmazonS3Client NewClient() => new(
        new BasicAWSCredentials(AccessKey, SecretKey),
        new AmazonS3Config
        {
            ServiceURL = Endpoint.ToString(),
            ForcePathStyle = true,
            AuthenticationRegion = "us-east-1",
            RequestChecksumCalculation = RequestChecksumCalculation.WHEN_REQUIRED,
            ResponseChecksumValidation = ResponseChecksumValidation.WHEN_REQUIRED,
        });

    /// <summary>Starts the server, once; skips the test where it cannot be had.</summary>
    public Task StartAsync()
    {
        string[] missing = [.. Programs.Where(static program => ServerProcess.Find(program) is null)];
        ServerProcess.Require(missing.Length == 0, $"Ceph's {string.Join(", ", missing)} not found: apt install radosgw ceph-mon ceph-osd ceph-common");
        lock (_gate)
        {
            return _started ??= StartAllAsync();
        }
    }

    /// <summary>Makes the account of one of the <see cref="Profiles"/>, which may do nothing but what a bucket's policy allows it (as <c>arn:aws:iam:::user/NAME</c>).</summary>
    public async Task MakeUserAsync(string name)
    {
        await StartAsync();
        await RunAsync("radosgw-admin", "-n", "client.rgw", "user", "create", $"--uid={name}", $"--display-name={name}", $"--access-key={name}access", $"--secret-key={name}secret");
    }

    /// <summary>A new bucket's name.</summary>
    public async Task<string> MakeBucketAsync(bool hasLock = false, bool isVersioned = false)
    {
        await StartAsync();
        string bucket = string.Create(CultureInfo.InvariantCulture, $"bucket-{Interlocked.Increment(ref _buckets)}");
        using AmazonS3Client client = NewClient();
        await client.PutBucketAsync(new PutBucketRequest { BucketName = bucket, ObjectLockEnabledForBucket = hasLock });
        if (isVersioned)
        {
            await client.PutBucketVersioningAsync(
                new PutBucketVersioningRequest { BucketName = bucket, VersioningConfig = new S3BucketVersioningConfig { Status = VersionStatus.Enabled } });
        }

        return bucket;
    }

    /// <summary>Lets a bucket hold so much and no more; null: as much as it likes.</summary>
    public async Task LimitAsync(string bucket, long? bytes)
    {
        string[] which = ["--quota-scope=bucket", $"--bucket={bucket}"];
        if (bytes is { } most)
        {
            await RunAsync("radosgw-admin", ["-n", "client.rgw", "quota", "set", .. which, string.Create(CultureInfo.InvariantCulture, $"--max-size={most}")]);
        }

        await RunAsync("radosgw-admin", ["-n", "client.rgw", "quota", bytes is null ? "disable" : "enable", .. which]);
    }

    /// <inheritdoc/>
    public void Pause() => ServerProcess.Signal("STOP", _daemons[^1].Id);

    /// <inheritdoc/>
    public void Continue() => ServerProcess.Signal("CONT", _daemons[^1].Id);

    /// <summary>All of it ends: gateway, store and monitor.</summary>
    public void Kill()
    {
        // The gateway first: without its store it would wait for minutes.
        for (int i = _daemons.Count - 1; i >= 0; i--)
        {
            _daemons[i].Kill();
            _daemons[i].WaitForExit();
            _daemons[i].Dispose();
        }

        _daemons.Clear();
    }

    /// <inheritdoc/>
    public Task StartAgainAsync()
    {
        StartDaemon("ceph-mon", "-i", "a", "-f");
        StartDaemon("ceph-osd", "-i", "0", "-f");
        StartDaemon("radosgw", "-n", "client.rgw", "-f");
        return WaitForAnswerAsync();
    }

    /// <summary>The URL of a repository there.</summary>
    public string Url(string bucket, string prefix = "", params string[] options) =>
        $"s3://{bucket}/{prefix}?endpoint={Endpoint.ToString().TrimEnd('/')}{string.Concat(options.Select(static option => "&" + option))}";

    /// <summary>The same over TLS.</summary>
    public string TlsUrl(string bucket, string prefix = "", params string[] options) =>
        $"s3://{bucket}/{prefix}?endpoint={TlsEndpoint.ToString().TrimEnd('/')}{string.Concat(options.Select(static option => "&" + option))}";

    /// <inheritdoc/>
    public ValueTask DisposeAsync()
    {
        Kill();
        if (Directory.Exists(_folder))
        {
            Directory.Delete(_folder, recursive: true);
        }

        return ValueTask.CompletedTask;
    }

    private async Task StartAllAsync()
    {
        foreach (string name in (string[])["mon", "osd0", "run", "log", "rgw"])
        {
            Directory.CreateDirectory(Path.Join(_folder, name));
        }

        await File.WriteAllTextAsync(
            CredentialsFile, string.Concat(Profiles.Select(static name => $"[{name}]\naws_access_key_id = {name}access\naws_secret_access_key = {name}secret\n\n")));
        int[] ports = FreePorts(3);
        Endpoint = new Uri($"http://127.0.0.1:{ports[0]}");
        TlsEndpoint = new Uri($"https://127.0.0.1:{ports[1]}");
        TestAuthority.Write(AuthorityFile, Path.Join(_folder, "server.pem"), Path.Join(_folder, "server.key"));
        string cluster = Guid.NewGuid().ToString();
        await File.WriteAllTextAsync(Path.Join(_folder, "ceph.conf"), Configuration(cluster, ports));
        string keyring = Path.Join(_folder, "keyring");
        await RunAsync("ceph-authtool", "--create-keyring", keyring, "--gen-key", "-n", "mon.", "--cap", "mon", "allow *");
        await RunAsync("ceph-authtool", keyring, "--gen-key", "-n", "client.admin", "--cap", "mon", "allow *", "--cap", "osd", "allow *", "--cap", "mgr", "allow *");
        await RunAsync("ceph-authtool", keyring, "--gen-key", "-n", "osd.0", "--cap", "mon", "allow profile osd", "--cap", "osd", "allow *", "--cap", "mgr", "allow *");
        await RunAsync("ceph-authtool", keyring, "--gen-key", "-n", "client.rgw", "--cap", "mon", "allow rwx", "--cap", "osd", "allow rwx");
        string map = Path.Join(_folder, "monmap");
        await RunAsync("monmaptool", "--create", "--clobber", "--fsid", cluster, "--addv", "a", $"[v2:127.0.0.1:{ports[2]}/0]", map);
        await RunAsync("ceph-mon", "-i", "a", "--mkfs", "--monmap", map, "--keyring", keyring);
        StartDaemon("ceph-mon", "-i", "a", "-f");
        string store = Guid.NewGuid().ToString();
        await RunAsync("ceph", "osd", "new", store, "0");
        await RunAsync("ceph-osd", "-i", "0", "--mkfs", "--osd-uuid", store, "--no-mon-config");
        StartDaemon("ceph-osd", "-i", "0", "-f");
        StartDaemon("radosgw", "-n", "client.rgw", "-f");
        await WaitForAnswerAsync();
        await RunAsync("radosgw-admin", "-n", "client.rgw", "user", "create", "--uid=ci", "--display-name=ci", $"--access-key={AccessKey}", $"--secret-key={SecretKey}");
    }

    private async Task WaitForAnswerAsync()
    {
        using HttpClient http = new();
        Stopwatch waited = Stopwatch.StartNew();
        while (true)
        {
            try
            {
                using HttpResponseMessage answer = await http.GetAsync(Endpoint);
                return;
            }
            catch (HttpRequestException) when (waited.Elapsed < StartWithin && !_daemons.Exists(static daemon => daemon.HasExited))
            {
                await Task.Delay(50);
            }
        }
    }

    private void StartDaemon(string program, params string[] arguments) => _daemons.Add(Process.Start(Start(program, arguments))!);

    private async Task RunAsync(string program, params string[] arguments)
    {
        using Process process = Process.Start(Start(program, arguments))!;
        Task<string> output = process.StandardOutput.ReadToEndAsync();
        string error = await process.StandardError.ReadToEndAsync();
        await output;
        await process.WaitForExitAsync();
        if (process.ExitCode != 0)
        {
            throw new InvalidOperationException($"{program} ended with {process.ExitCode}: {error}");
        }
    }

    private ProcessStartInfo Start(string program, string[] arguments)
    {
        // Daemons write logs of their own; what they say here must not fill a pipe that nobody reads.
        bool isDaemon = arguments[^1] == "-f";
        ProcessStartInfo start = isDaemon
            ? new ProcessStartInfo("/bin/sh", ["-c", "exec \"$0\" \"$@\" >/dev/null 2>&1", program, .. arguments]) { UseShellExecute = false }
            : new ProcessStartInfo(program, arguments) { UseShellExecute = false, RedirectStandardOutput = true, RedirectStandardError = true };
        start.Environment["CEPH_CONF"] = Path.Join(_folder, "ceph.conf");
        return start;
    }

    private static int[] FreePorts(int count)
    {
        TcpListener[] listeners = [.. Enumerable.Range(0, count).Select(static _ => new TcpListener(IPAddress.Loopback, 0))];
        Array.ForEach(listeners, static listener => listener.Start());
        int[] ports = [.. listeners.Select(static listener => ((IPEndPoint)listener.LocalEndpoint).Port)];
        Array.ForEach(listeners, static listener => listener.Stop());
        return ports;
    }

    // One node, nothing replicated; short intervals, for the defaults make every pool take seconds.
    private string Configuration(string cluster, int[] ports) =>
        $"""
        [global]
        fsid = {cluster}
        mon host = [v2:127.0.0.1:{ports[2]}/0]
        public network = 127.0.0.0/8
        cluster network = 127.0.0.0/8
        ms bind msgr1 = false
        run dir = {_folder}/run
        admin socket = {_folder}/run/$name.asok
        pid file = {_folder}/run/$name.pid
        log file = {_folder}/log/$name.log
        keyring = {_folder}/keyring
        paxos propose interval = 0.05
        paxos min wait = 0.01
        mon tick interval = 1
        osd pool default size = 1
        osd pool default min size = 1
        mon allow pool size one = true
        osd pool default pg num = 4
        osd pool default pgp num = 4
        osd pool default pg autoscale mode = off
        mon max pg per osd = 1000
        osd crush chooseleaf type = 0
        mon initial members = a
        debug ms = 0
        [mon]
        mon data = {_folder}/mon
        mon cluster log file = {_folder}/log/cluster.log
        mon data avail warn = 1
        mon data avail crit = 1
        auth allow insecure global id reclaim = true
        [osd]
        osd data = {_folder}/osd0
        osd objectstore = {(IsDurable ? "bluestore" : "memstore")}
        memstore device bytes = 4294967296
        bluestore block size = 17179869184
        bluestore block create = true
        osd memory target = 939524096
        osd op num shards = 1
        osd op num threads per shard = 2
        osd class load list = *
        osd class default list = *
        osd heartbeat interval = 1
        osd numa auto affinity = false
        [client.rgw]
        rgw data = {_folder}/rgw
        rgw frontends = beast endpoint=127.0.0.1:{ports[0]} tcp_nodelay=1 ssl_endpoint=127.0.0.1:{ports[1]} ssl_certificate={_folder}/server.pem ssl_private_key={_folder}/server.key
        rgw thread pool size = 32
        rgw enable apis = s3, admin
        rgw enable usage log = false
        rgw enable ops log = false
        rgw run sync thread = false
        rgw dns name = localhost
        rgw gc max objs = 4
        rgw gc obj min wait = 1
        rgw gc processor period = 5
        rgw usage max shards = 1
        rgw usage max user shards = 1
        rgw lc max objs = 1
        rgw objexp hints num shards = 1
        rgw reshard num logs = 1
        rgw data log num shards = 1
        rgw md log max shards = 1
        rgw crypt require ssl = false
        rgw crypt s3 kms backend = testing
        rgw crypt s3 kms encryption keys = {KmsKey}={Convert.ToBase64String(new string('7', 32).Select(static c => (byte)c).ToArray())}

        """;
}
