using System.Diagnostics;
using System.Globalization;
using System.Text.Json;
using BackupIQ.Engine.Retention;
using BackupIQ.Engine.Snapshots;
using BackupIQ.Primitives;
using BackupIQ.Testing.Files;
using Shouldly;
using Xunit;

namespace BackupIQ.Tests.Engine.Retention;

/// <summary>
/// Acceptance point B3, second half: random rules decide about snapshots of the same times, hosts, paths and tags as restic's forget does. As
/// many sets of rules as BACKUPIQ_B3_RUNS says, 12 otherwise, on BACKUPIQ_B3_SNAPSHOTS snapshots, 24 otherwise; the seed is BACKUPIQ_B3_SEED or 1.
/// </summary>
public sealed class RetentionEqualsResticTests : IDisposable
{
    private static readonly string[] s_periods = ["hourly", "daily", "weekly", "monthly", "yearly"];

    private readonly ScratchFolder _scratch = new();

    public void Dispose() => _scratch.Dispose();

    [Fact]
    public async Task RandomRulesDecideAsResticDoes()
    {
        Assert.SkipUnless(File.Exists("/usr/bin/restic"), "restic is not installed: apt-get install restic.");
        Assert.SkipUnless(
            ScratchFolder.Run("/usr/bin/restic", "version").StartsWith("restic 0.14.", StringComparison.Ordinal),
            "The rules compared are those of restic 0.14; later ones also keep the oldest snapshot of all.");
        int seed = Number("BACKUPIQ_B3_SEED", 1);
        Random random = new(seed);
        await MakeSnapshotsAsync(random, Number("BACKUPIQ_B3_SNAPSHOTS", 24));
        Snapshot[] snapshots = Read(await ResticAsync("snapshots", "--json"));
        int runs = Number("BACKUPIQ_B3_RUNS", 12);
        int kept = 0;
        List<string> differences = [];
        foreach (string[][] batch in Enumerable.Range(0, runs).Select(_ => RandomRules(random)).Chunk(2))
        {
            string[] answers = await Task.WhenAll(batch.Select(flags => ResticAsync(["forget", "--no-lock", "--dry-run", "--json", .. flags])));
            foreach ((string[] flags, string answer) in batch.Zip(answers))
            {
                SortedDictionary<string, string> theirs = Theirs(answer);
                SortedDictionary<string, string> ours = Ours(snapshots, flags);
                kept += theirs.Count;
                string[] different = [.. theirs.Keys.Union(ours.Keys).Where(id => theirs.GetValueOrDefault(id) != ours.GetValueOrDefault(id))
                    .Select(id => $"  {snapshots.Single(s => s.Id.ToString() == id).Time:u}: restic '{theirs.GetValueOrDefault(id)}', ours '{ours.GetValueOrDefault(id)}'")];
                if (different.Length > 0)
                {
                    differences.Add($"{string.Join(' ', flags)}\n{string.Join('\n', different)}");
                }
            }
        }

        TestContext.Current.TestOutputHelper?.WriteLine($"{snapshots.Length} snapshots, {runs} sets of rules, {kept} kept, {differences.Count} differences");
        differences.ShouldBeEmpty($"seed {seed}\n{string.Join('\n', differences)}");
        kept.ShouldBeGreaterThan(0);
    }

    private static int Number(string variable, int otherwise) =>
        int.TryParse(Environment.GetEnvironmentVariable(variable), CultureInfo.InvariantCulture, out int number) ? number : otherwise;

    private async Task MakeSnapshotsAsync(Random random, int count)
    {
        foreach (string folder in (string[])["data", "mail"])
        {
            Directory.CreateDirectory(Path.Combine(_scratch.Path, folder));
            await File.WriteAllTextAsync(Path.Combine(_scratch.Path, folder, "a"), folder);
        }

        await ResticAsync("init");
        DateTime[] edges = [new(2025, 3, 30, 2, 0, 0), new(2025, 10, 26, 2, 0, 0), new(2025, 12, 31, 23, 0, 0), new(2024, 2, 29, 12, 0, 0)];
        foreach (int[] pair in Enumerable.Range(0, count).Chunk(2))
        {
            await Task.WhenAll(pair.Select(number =>
            {
                DateTime around = random.Next(3) == 0 ? edges[random.Next(edges.Length)] : new DateTime(2026, 1, 31).AddDays(-random.Next(120));
                string time = around.AddMinutes(random.Next(-2000, 2000)).AddSeconds(number).ToString("yyyy-MM-dd HH:mm:ss", CultureInfo.InvariantCulture);
                string[] tags = [.. ((string[])["a", "b"]).Where(_ => random.Next(3) == 0).SelectMany(static tag => (string[])["--tag", tag])];
                string host = random.Next(3) == 0 ? "other" : "here";
                return ResticAsync(["backup", "--quiet", "--time", time, "--host", host, .. tags, random.Next(3) == 0 ? "mail" : "data"]);
            }));
        }
    }

    private static string[] RandomRules(Random random)
    {
        List<string> flags = [];
        foreach (string period in (string[])["last", .. s_periods])
        {
            if (random.Next(3) == 0)
            {
                flags.AddRange([$"--keep-{period}", random.Next(1, 9).ToString(CultureInfo.InvariantCulture)]);
            }

            if (random.Next(6) == 0)
            {
                flags.AddRange([period == "last" ? "--keep-within" : $"--keep-within-{period}", RandomSpan(random)]);
            }
        }

        if (random.Next(4) == 0)
        {
            flags.AddRange(["--keep-tag", random.Next(2) == 0 ? "a" : "a,b"]);
        }

        if (flags.Count == 0)
        {
            flags.AddRange(["--keep-daily", "3"]);
        }

        flags.AddRange(["--group-by", random.Next(5) switch { 0 => "", 1 => "host", 2 => "host,paths,tags", _ => "host,paths" }]);
        return [.. flags];
    }

    private static string RandomSpan(Random random)
    {
        string span = string.Concat(((string[])["y", "m", "d", "h"]).Select(unit => random.Next(3) == 0 ? $"{random.Next(1, unit == "y" ? 3 : 40)}{unit}" : ""));
        return span.Length > 0 ? span : "20d";
    }

    private static Snapshot[] Read(string json)
    {
        using JsonDocument document = JsonDocument.Parse(json);
        return [.. document.RootElement.EnumerateArray().Select(static element => new Snapshot
        {
            Id = IdOf(element),
            Time = DateTimeOffset.Parse(element.GetProperty("time").GetString()!, CultureInfo.InvariantCulture),
            Hostname = element.GetProperty("hostname").GetString()!,
            Paths = [.. element.GetProperty("paths").EnumerateArray().Select(static path => path.GetString()!)],
            Tags = element.TryGetProperty("tags", out JsonElement tags) ? [.. tags.EnumerateArray().Select(static tag => tag.GetString()!)] : [],
            Kind = "files",
            Type = SnapshotType.Incremental,
            Tree = new string('0', 64),
        })];
    }

    private static SessionId IdOf(JsonElement snapshot) =>
        SessionId.TryParse(snapshot.GetProperty("id").GetString().AsSpan(0, 32), out SessionId id) ? id : throw new InvalidOperationException("restic's id is none");

    // Each snapshot that is kept, with the reasons.
    private static SortedDictionary<string, string> Theirs(string json)
    {
        SortedDictionary<string, string> kept = new(StringComparer.Ordinal);
        using JsonDocument document = JsonDocument.Parse(json);
        foreach (JsonElement group in document.RootElement.EnumerateArray())
        {
            // The reasons stand in the order of what is kept; their own snapshots have no ids.
            JsonElement[] keep = group.GetProperty("keep").ValueKind == JsonValueKind.Null ? [] : [.. group.GetProperty("keep").EnumerateArray()];
            JsonElement[] reasons = keep.Length == 0 ? [] : [.. group.GetProperty("reasons").EnumerateArray()];
            reasons.Length.ShouldBe(keep.Length);
            foreach ((JsonElement snapshot, JsonElement reason) in keep.Zip(reasons))
            {
                reason.GetProperty("snapshot").GetProperty("time").GetString().ShouldBe(snapshot.GetProperty("time").GetString());
                string[] matches = [.. reason.GetProperty("matches").EnumerateArray().Select(static match => match.GetString()!)];
                kept.Add(IdOf(snapshot).ToString(), string.Join("; ", matches.Order(StringComparer.Ordinal)));
            }
        }

        return kept;
    }

    private static SortedDictionary<string, string> Ours(Snapshot[] snapshots, string[] flags)
    {
        RetentionPolicy policy = RetentionPolicy.Keep(RetentionRules.None);
        RetentionGrouping grouping = RetentionGrouping.None;
        foreach (string[] flag in flags.Chunk(2))
        {
            if (flag[0] == "--keep-tag")
            {
                policy = policy.With(policy.Rules with { Tags = [flag[1].Split(',')] });
            }
            else if (flag[0] == "--group-by")
            {
                grouping = flag[1].Split(',', StringSplitOptions.RemoveEmptyEntries)
                    .Aggregate(RetentionGrouping.None, static (sum, word) => sum | Enum.Parse<RetentionGrouping>(word, ignoreCase: true));
            }
            else
            {
                policy = policy.With(flag[0]["--keep-".Length..], flag[1]);
            }
        }

        ForgetPlanner planner = new(snapshots, hasStoreTimes: false, DateTimeOffset.UtcNow, RetentionBuilder.Berlin);
        ForgetPlan plan = planner.ByRules(static _ => true, new ForgetOptions { Policy = policy, GroupBy = grouping, AllowMass = true });
        return new SortedDictionary<string, string>(
            plan.Groups.SelectMany(static group => group.Decisions).Where(static d => d.IsKept)
                .ToDictionary(static d => d.Snapshot.Id.ToString(), static d => string.Join("; ", d.Reasons.Order(StringComparer.Ordinal))),
            StringComparer.Ordinal);
    }

    private async Task<string> ResticAsync(params string[] arguments)
    {
        ProcessStartInfo start = new("/usr/bin/restic", [.. arguments])
        {
            UseShellExecute = false,
            WorkingDirectory = _scratch.Path,
            RedirectStandardOutput = true,
            RedirectStandardError = true,
            Environment =
            {
                ["RESTIC_REPOSITORY"] = Path.Combine(_scratch.Path, "restic"),
                ["RESTIC_PASSWORD"] = "x",
                ["RESTIC_CACHE_DIR"] = Path.Combine(_scratch.Path, "cache"),
                ["TZ"] = "Europe/Berlin",
            },
        };
        using Process process = Process.Start(start)!;
        Task<string> errors = process.StandardError.ReadToEndAsync();
        string output = await process.StandardOutput.ReadToEndAsync();
        await process.WaitForExitAsync();
        return process.ExitCode == 0 ? output : throw new InvalidOperationException($"restic {string.Join(' ', arguments)}: {await errors}");
    }
}
