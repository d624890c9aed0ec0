using System.Globalization;
using System.Text.Json;
using BackupIQ.IntegrationTests.Processes;
using Shouldly;

namespace BackupIQ.IntegrationTests.Postgres;

/// <summary>A server that archives into a repository, its backups, and what is brought back from both.</summary>
internal sealed class RecoveryScene : IDisposable
{
    /// <summary>The rows of <c>t</c> that tests look at, in one line.</summary>
    public const string Rows = "select string_agg(a::text, ',' order by a) from t where a < 200";

    private readonly string? _binaries;
    private readonly HashSet<string> _restored = [];
    private int _count;

    public RecoveryScene(int segmentMegabytes = 1, string settings = "", string? binaries = null)
    {
        _binaries = binaries;
        Server = PostgresServer.Start(segmentMegabytes, settings, binaries);
        string configuration = Server.User.At("config.yaml");
        File.WriteAllText(configuration, $"postgres:\n  main:\n    dsn: 'host={Server.User.Home} user=ci dbname=postgres'\n");
        Server.User.Environment["BACKUPIQ_CONFIG"] = configuration;
    }

    public PostgresServer Server { get; }

    /// <summary>Backs up; the snapshot's id.</summary>
    public string Backup() => Server.Pg("backup", "main", "--json", "--quiet").ShouldEndWith(0).Summary().GetProperty("snapshot_id").GetString()!;

    /// <summary>The plan for a target.</summary>
    public JsonElement Plan(params string[] target) => Server.Pg(["restore", "main", "--plan", "--json", .. target]).ShouldEndWith(0).Json();

    /// <summary>Restores and starts; the folder and the summary. What was reached is what the plan says, or the program would say so.</summary>
    public (string Folder, JsonElement Summary) Restore(params string[] target)
    {
        string folder = Server.User.At($"restored{++_count}");
        string[] programs = _binaries is null ? [] : ["--pg-bin", _binaries];
        JsonElement summary = Server.Pg(["restore", "main", "--to", folder, "--start", "--json", "--quiet", .. programs, .. target]).ShouldEndWith(0).Summary();
        _restored.Add(folder);
        return (folder, summary);
    }

    /// <summary>What a query answers on a restored server.</summary>
    public string[] Query(string folder, string sql) => Server.SqlAt(folder, sql);

    /// <summary>Restores, asks one question and throws the server away.</summary>
    public string Ask(string sql, params string[] target)
    {
        (string folder, _) = Restore(target);
        string answer = string.Join(' ', Query(folder, sql));
        Discard(folder);
        return answer;
    }

    /// <summary>Refused: exit code 6, and no folder; the error.</summary>
    public JsonElement Refuse(params string[] target)
    {
        string folder = Server.User.At($"refused{++_count}");
        ProgramRun run = Server.Pg(["restore", "main", "--to", folder, "--json", "--quiet", .. target]).ShouldEndWith(6);
        Directory.Exists(folder).ShouldBeFalse("something was written");
        return run.ExitError();
    }

    /// <summary>Stops a restored server and removes it.</summary>
    public void Discard(string folder)
    {
        if (File.Exists(Path.Combine(folder, "postmaster.pid")))
        {
            Server.Run("pg_ctl", "-D", folder, "-m", "immediate", "-w", "-s", "stop");
        }

        Directory.Delete(folder, recursive: true);
        _restored.Remove(folder);
    }

    /// <summary>Takes files of the archive away whose names end so, until what is returned is disposed.</summary>
    public IDisposable Without(params string[] names) => new Absence(Server.User.MakeFolder("absent"), [.. Server.User.Objects("w").Where(file => names.Any(name => file.EndsWith(name.ToLowerInvariant(), StringComparison.Ordinal)))]);

    /// <summary>A moment as the server's clock has it now.</summary>
    public string Now() => Server.Sql("select to_char(clock_timestamp() at time zone 'utc', 'YYYY-MM-DD\"T\"HH24:MI:SS.US\"Z\"')")[0];

    /// <summary>The same, some time earlier or later.</summary>
    public static string Later(string moment, double seconds) =>
        DateTimeOffset.Parse(moment, CultureInfo.InvariantCulture).AddSeconds(seconds).ToUniversalTime().ToString("yyyy-MM-dd'T'HH:mm:ss.ffffff'Z'", CultureInfo.InvariantCulture);

    public void Dispose()
    {
        foreach (string folder in _restored.ToArray())
        {
            Discard(folder);
        }

        Server.Dispose();
    }

    private sealed class Absence : IDisposable
    {
        private readonly string _folder;
        private readonly string[] _files;

        public Absence(string folder, string[] files)
        {
            files.ShouldNotBeEmpty();
            _folder = folder;
            _files = files;
            foreach (string file in files)
            {
                File.Move(file, Path.Combine(_folder, Path.GetFileName(file)));
            }
        }

        public void Dispose()
        {
            foreach (string file in _files)
            {
                File.Move(Path.Combine(_folder, Path.GetFileName(file)), file);
            }
        }
    }
}
