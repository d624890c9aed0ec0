using System.Collections.Concurrent;
using System.Net;
using BackupIQ.IntegrationTests.Processes;
using BackupIQ.Primitives;
using BackupIQ.Storage;
using BackupIQ.Storage.Resilience;
using BackupIQ.Testing.Files;
using BackupIQ.Testing.Network;
using BackupIQ.Testing.Storage;
using Shouldly;
using Xunit;

namespace BackupIQ.IntegrationTests.Storage;

/// <summary>
/// A storage behind the whole stack of resilience, with a proxy between that lets go wrong what a seed says. Every call ends right or with a clear error,
/// nothing acknowledged is lost, and what was changed on its way there never becomes data. A storage's test class derives from this one.
/// </summary>
public abstract class StorageFaultTests : IDisposable
{
    private readonly ScratchFolder _scratch = new();

    /// <summary>How many scripts are run where <c>BACKUPIQ_FAULT_SCRIPTS</c> does not say.</summary>
    protected virtual int Scripts => 200;

    /// <summary>The largest object that is put.</summary>
    protected virtual int LargestObject => 200_000;

    /// <summary>How many scripts run beside each other. Most of their time they wait for silence to end.</summary>
    protected virtual int ScriptsAtOnce => 24;

    /// <summary>The share of requests that go wrong.</summary>
    protected virtual double Share => 0.25;

    /// <summary>Half of the faults are within so many bytes of a request or its answer.</summary>
    protected virtual int EarlyBytes => 600;

    /// <summary>How many seeds the program is run with.</summary>
    protected virtual int Programs => 1;

    /// <summary>What can go wrong.</summary>
    protected virtual IReadOnlyList<ProxyFaultKind> Kinds => HttpFaultProxy.Kinds;

    /// <summary>As <see cref="FaultRun.AreReadsChecked"/>.</summary>
    protected virtual bool AreReadsChecked => false;

    /// <summary>What must not be shown.</summary>
    protected abstract string Secret { get; }

    /// <inheritdoc/>
    public void Dispose()
    {
        _scratch.Dispose();
        GC.SuppressFinalize(this);
    }

    [Fact]
    public async Task UnderRandomFaultsOfTheNetworkNothingAcknowledgedIsLost()
    {
        string bucket = await NewPlaceAsync();
        int scripts = int.Parse(System.Environment.GetEnvironmentVariable("BACKUPIQ_FAULT_SCRIPTS") ?? Scripts.ToString(System.Globalization.CultureInfo.InvariantCulture), System.Globalization.CultureInfo.InvariantCulture);
        ConcurrentDictionary<ProxyFaultKind, int> applied = new();
        int failures = 0, acknowledged = 0;
        long retries = 0;
        await Parallel.ForAsync(0, scripts, new ParallelOptions { MaxDegreeOfParallelism = ScriptsAtOnce }, async (seed, _) =>
        {
            await using FaultProxy proxy = ProxyBefore(await ServerAsync());
            using StorageRegistry registry = new(TimeProvider.System);
            IStorageBackend storage = StorageStack.Wrap(await ConnectAsync(proxy.EndPoint, bucket, $"run{seed}"), $"storage {seed}", OptionsFor(seed), registry, TimeProvider.System);
            proxy.Script = ProxyFault.Random(seed, Share, EarlyBytes, [.. Kinds]);
            FaultRun run = new(storage, _scratch.Path, seed) { LargestObject = LargestObject, AreReadsChecked = AreReadsChecked };
            await Task.WhenAll(run.WorkAsync(0, 8), run.WorkAsync(1, 8));
            await storage.DisposeAsync();

            await using IStorageBackend direct = await ConnectBehindAsync(bucket, $"run{seed}");
            await run.CheckAsync(direct);
            Interlocked.Add(ref failures, run.Failures);
            Interlocked.Add(ref acknowledged, run.Acknowledged);
            Interlocked.Add(ref retries, registry.Report()[0].Retries);
            foreach ((ProxyFaultKind kind, int times) in proxy.Applied)
            {
                applied.AddOrUpdate(kind, times, (_, before) => before + times);
            }
        });

        TestContext.Current.SendDiagnosticMessage(
            $"{scripts} scripts: {acknowledged} objects acknowledged, {failures} calls failed, {retries} retries; {string.Join(", ", applied.Select(static one => $"{one.Key} {one.Value}"))}");
        applied.Keys.ShouldBe(Kinds, ignoreOrder: true, "every kind of fault came about");
        acknowledged.ShouldBeGreaterThan(scripts * 2);
        retries.ShouldBeGreaterThan(scripts);
        Directory.EnumerateFiles(_scratch.Path).ShouldBeEmpty("files given as content are taken care of");
    }

    [Fact]
    public async Task AProgramOnABadNetworkBacksUpWholeOrSaysWhatFailedAndNeverRestoresWrongBytes()
    {
        for (int seed = 1; seed <= Programs; seed++)
        {
            await RunProgramAsync(seed);
        }
    }

    [Fact]
    public async Task AServerThatIsSilentIsGivenUpAfterTheTimeThatIsSaid()
    {
        string place = await NewPlaceAsync();
        await using FaultProxy proxy = ProxyBefore(await ServerAsync());
        proxy.Script = static _ => new ProxyFault(ProxyFaultKind.Hang);
        using ProgramUser user = NewUser();
        string url = UrlAt(proxy.EndPoint, place, "repository");
        System.Diagnostics.Stopwatch watch = System.Diagnostics.Stopwatch.StartNew();
        ProgramRun silent = user.RunPlain("storage", "info", url, "--storage-timeout", "1s", "--retry-profile", "quick").ShouldEndWith(15);
        silent.Error.Split('\n').Count(static line => line.StartsWith("warning: ", StringComparison.Ordinal) && line.Contains("failed, again in", StringComparison.Ordinal)).ShouldBe(1, silent.Error);
        if (SaysSilenceInItsUrl)
        {
            user.RunPlain("storage", "info", url + "&timeout=1", "--retry-profile", "quick").ShouldEndWith(15);
            user.RunPlain("storage", "info", url + "&timeout=much").ShouldEndWith(2);
        }

        watch.Elapsed.ShouldBeLessThan(TimeSpan.FromSeconds(50), "each of them has three attempts, of a minute each where nothing is said");
        user.RunPlain("storage", "info", url, "--tls-minimum", "1.1").ShouldEndWith(2);
    }

    private async Task RunProgramAsync(int seed)
    {
        string bucket = await NewPlaceAsync();
        await using FaultProxy proxy = ProxyBefore(await ServerAsync());
        using ProgramUser user = NewUser();
        string behind = UrlAt(await ServerAsync(), bucket, "repository");
        string through = UrlAt(proxy.EndPoint, bucket, "repository");
        string tree = user.MakeTree(large: 12 << 20, seed: seed);
        ProgramRun On(string url, params string[] words) => user.RunPlain([.. words, "--repo", url, .. user.Secret, "--no-input"]);
        On(behind, "init").ShouldEndWith(0);

        // Silence would cost a minute each time; the scripts above have it.
        proxy.Script = ProxyFault.Random(seed, Share * 0.8, EarlyBytes, [.. Kinds.Where(static kind => kind is not (ProxyFaultKind.Hang or ProxyFaultKind.HalfOpen))]);
        ProgramRun backup = On(through, "backup", tree, "--retry-profile", "quick");
        ShouldBeClear(backup);
        On(behind, "check", "--read-data").ShouldEndWith(0);
        int snapshots = On(behind, "snapshots", "--json").ShouldEndWith(0).Json().GetArrayLength();
        if (backup.Code == 0)
        {
            snapshots.ShouldBe(1);
        }

        On(behind, "backup", tree).ShouldEndWith(0);
        string target = user.At("restored");
        ProgramRun restore = On(through, "restore", "latest", "--target", target, "--retry-profile", "aggressive");
        ShouldBeClear(restore);
        foreach (string file in Directory.Exists(target) ? Directory.EnumerateFiles(target, "*", SearchOption.AllDirectories) : [])
        {
            // Files get their names when they are whole.
            string original = tree + Path.GetFullPath(file)[(target.Length + tree.Length)..];
            if (File.Exists(original))
            {
                File.ReadAllBytes(file).AsSpan().SequenceEqual(File.ReadAllBytes(original)).ShouldBeTrue(file);
            }
        }

        if (restore.Code == 0)
        {
            ScratchFolder.Run("diff", "-r", tree, target + tree).ShouldBeEmpty();
        }

        TestContext.Current.SendDiagnosticMessage($"seed {seed}: backup {backup.Code}, restore {restore.Code}, {proxy.Applied.Values.Sum()} faults in {proxy.Requests} requests");
        proxy.Applied.Values.Sum().ShouldBeGreaterThan(0);
    }

    // What failed, and an exit code that says so; a fault of the program itself is neither.
    private void ShouldBeClear(ProgramRun run)
    {
        if (run.Code != 0)
        {
            run.Code.ShouldBeOneOf(1, 10, 12, 14, 15);
            run.Error.ShouldContain("backupiq: ");
            run.Error.ShouldNotContain(ErrorCodes.Internal.Guidance);
            run.Error.ShouldNotContain(Secret);
        }
    }

    /// <summary>The server. Skips the test where it is not installed.</summary>
    private protected abstract ValueTask<IPEndPoint> ServerAsync();

    /// <summary>A new bucket, or what the storage has in its place.</summary>
    private protected virtual async ValueTask<string> NewPlaceAsync()
    {
        _ = await ServerAsync();
        return $"faults-{Guid.NewGuid():n}";
    }

    /// <summary>A client, by way of the server or a proxy before it.</summary>
    private protected abstract Task<IStorageBackend> ConnectAsync(IPEndPoint server, string place, string prefix);

    /// <summary>A client for what is behind the proxy in the end.</summary>
    private protected virtual async Task<IStorageBackend> ConnectBehindAsync(string place, string prefix) => await ConnectAsync(await ServerAsync(), place, prefix);

    /// <summary>What lets things go wrong; at first it lets everything pass.</summary>
    private protected virtual FaultProxy ProxyBefore(IPEndPoint server) => new HttpFaultProxy(server, static _ => ProxyFault.None);

    /// <summary>Whether the URL has the options <c>timeout</c> and <c>tls-minimum</c>, for the transport is ours.</summary>
    private protected virtual bool SaysSilenceInItsUrl => true;

    /// <summary>The URL of the same.</summary>
    private protected abstract string UrlAt(IPEndPoint server, string place, string prefix);

    /// <summary>The variables that open it.</summary>
    private protected abstract IReadOnlyDictionary<string, string> Environment { get; }

    private ProgramUser NewUser()
    {
        ProgramUser user = new();
        foreach ((string name, string value) in Environment)
        {
            user.Environment[name] = value;
        }

        return user;
    }

    // Short, so that a hang costs a second; in every other script the breaker can open.
    private static ResilienceOptions OptionsFor(int seed) => new()
    {
        Retry = new RetryProfile("test", 5, TimeSpan.FromMilliseconds(10), TimeSpan.FromMilliseconds(200)) { LongestWait = TimeSpan.FromSeconds(2) },
        LongestSilence = TimeSpan.FromSeconds(1),
        FailuresToOpen = seed % 2 == 0 ? 5 : int.MaxValue,
        OpenFor = TimeSpan.FromMilliseconds(300),
    };
}
