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
/// A storage that speaks HTTP behind the whole stack of resilience, with a proxy between that lets go wrong what a seed says. Every call ends right or with a
/// clear error, nothing acknowledged is lost, and what was changed on its way there never becomes data. A storage's test class derives from this one.
/// </summary>
public abstract class StorageFaultTests : IDisposable
{
    private readonly ScratchFolder _scratch = new();

    /// <summary>How many scripts are run where <c>BACKUPIQ_FAULT_SCRIPTS</c> does not say.</summary>
    protected virtual int Scripts => 200;

    /// <summary>The largest object that is put.</summary>
    protected virtual int LargestObject => 200_000;

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
        await Parallel.ForAsync(0, scripts, new ParallelOptions { MaxDegreeOfParallelism = 24 }, async (seed, _) =>
        {
            await using FaultProxy proxy = new(await ServerAsync(), static _ => ProxyFault.None);
            using StorageRegistry registry = new(TimeProvider.System);
            IStorageBackend storage = StorageStack.Wrap(await ConnectAsync(proxy.EndPoint, bucket, $"run{seed}"), $"storage {seed}", OptionsFor(seed), registry, TimeProvider.System);
            proxy.Script = ProxyFault.Random(seed, 0.25);
            FaultRun run = new(storage, _scratch.Path, seed) { LargestObject = LargestObject, AreReadsChecked = false };
            await Task.WhenAll(run.WorkAsync(0, 8), run.WorkAsync(1, 8));
            await storage.DisposeAsync();

            await using IStorageBackend direct = await ConnectAsync(await ServerAsync(), bucket, $"run{seed}");
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
        applied.Count.ShouldBe(Enum.GetValues<ProxyFaultKind>().Length - 1, "every kind of fault came about");
        acknowledged.ShouldBeGreaterThan(scripts * 2);
        retries.ShouldBeGreaterThan(scripts);
        Directory.EnumerateFiles(_scratch.Path).ShouldBeEmpty("files given as content are taken care of");
    }

    [Theory]
    [InlineData(1)]
    [InlineData(2)]
    [InlineData(3)]
    [InlineData(4)]
    public async Task AProgramOnABadNetworkBacksUpWholeOrSaysWhatFailedAndNeverRestoresWrongBytes(int seed)
    {
        string bucket = await NewPlaceAsync();
        await using FaultProxy proxy = new(await ServerAsync(), static _ => ProxyFault.None);
        using ProgramUser user = new();
        foreach ((string name, string value) in Environment)
        {
            user.Environment[name] = value;
        }

        string behind = UrlAt(await ServerAsync(), bucket, "repository");
        string through = UrlAt(proxy.EndPoint, bucket, "repository");
        string tree = user.MakeTree(large: 12 << 20, seed: seed);
        ProgramRun On(string url, params string[] words) => user.RunPlain([.. words, "--repo", url, .. user.Secret, "--no-input"]);
        On(behind, "init").ShouldEndWith(0);

        // Silence would cost a minute each time; the scripts above have it.
        proxy.Script = ProxyFault.Random(seed, 0.2, [.. Enum.GetValues<ProxyFaultKind>().Where(static kind => kind is not (ProxyFaultKind.None or ProxyFaultKind.Hang or ProxyFaultKind.HalfOpen))]);
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

    [Fact]
    public async Task AServerThatIsSilentIsGivenUpAfterTheTimeThatIsSaid()
    {
        string place = await NewPlaceAsync();
        await using FaultProxy proxy = new(await ServerAsync(), static _ => new ProxyFault(ProxyFaultKind.Hang));
        using ProgramUser user = new();
        foreach ((string name, string value) in Environment)
        {
            user.Environment[name] = value;
        }

        string url = UrlAt(proxy.EndPoint, place, "repository");
        System.Diagnostics.Stopwatch watch = System.Diagnostics.Stopwatch.StartNew();
        user.RunPlain("storage", "info", url, "--storage-timeout", "1s", "--retry-profile", "quick").ShouldEndWith(15);
        user.RunPlain("storage", "info", url + "&timeout=1", "--retry-profile", "quick").ShouldEndWith(15);
        watch.Elapsed.ShouldBeLessThan(TimeSpan.FromSeconds(50), "each of them has three attempts, of a minute each where nothing is said");
        user.RunPlain("storage", "info", url + "&timeout=much").ShouldEndWith(2);
        user.RunPlain("storage", "info", url, "--tls-minimum", "1.1").ShouldEndWith(2);
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
    private protected abstract ValueTask<string> NewPlaceAsync();

    /// <summary>A client, by way of the server or a proxy before it.</summary>
    private protected abstract Task<IStorageBackend> ConnectAsync(IPEndPoint server, string place, string prefix);

    /// <summary>The URL of the same.</summary>
    private protected abstract string UrlAt(IPEndPoint server, string place, string prefix);

    /// <summary>The variables that open it.</summary>
    private protected abstract IReadOnlyDictionary<string, string> Environment { get; }

    // Short, so that a hang costs a second; in every other script the breaker can open.
    private static ResilienceOptions OptionsFor(int seed) => new()
    {
        Retry = new RetryProfile("test", 5, TimeSpan.FromMilliseconds(10), TimeSpan.FromMilliseconds(200)) { LongestWait = TimeSpan.FromSeconds(2) },
        LongestSilence = TimeSpan.FromSeconds(1),
        FailuresToOpen = seed % 2 == 0 ? 5 : int.MaxValue,
        OpenFor = TimeSpan.FromMilliseconds(300),
    };
}
