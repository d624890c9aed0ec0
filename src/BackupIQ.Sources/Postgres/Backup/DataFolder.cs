using System.Globalization;
using System.Text;

namespace BackupIQ.Sources.Postgres.Backup;

/// <summary>Which part of a data directory a folder is: it decides what of it is backed up.</summary>
internal enum DataFolder
{
    /// <summary>The data directory itself.</summary>
    Top,

    /// <summary>Of no special meaning.</summary>
    Plain,

    /// <summary>Kept, but empty: the server makes its content anew.</summary>
    Emptied,

    /// <summary><c>pg_wal</c>: only its folders are kept, empty.</summary>
    Wal,

    /// <summary><c>global</c>: relations of all databases.</summary>
    Global,

    /// <summary><c>base</c>, or the folder of a tablespace: databases.</summary>
    Databases,

    /// <summary>A database: relations.</summary>
    Relations,

    /// <summary><c>pg_tblspc</c>: links to tablespaces.</summary>
    Tablespaces,
}

/// <summary>The rules by which content of a data directory is left out (PostgreSQL's manual, "Backing Up the Data Directory").</summary>
internal static class DataFolderRules
{
    private static readonly HashSet<string> Emptied = new(StringComparer.Ordinal)
    {
        "pg_replslot", "pg_dynshmem", "pg_notify", "pg_serial", "pg_snapshots", "pg_stat_tmp", "pg_subtrans",
    };

    // pg_control is read last; labels and maps are what the server says at the end. The log is ours, of a restore that was started; sockets with their locks
    // lie in the data directory of such a server.
    private static readonly HashSet<string> LeftOut = new(StringComparer.Ordinal)
    {
        "postmaster.pid", "postmaster.opts", "backup_label", "backup_label.old", "tablespace_map", "tablespace_map.old", "backup_manifest", "recovery.signal",
        "standby.signal", "current_logfiles", "current_logfiles.tmp", "postgresql.auto.conf.tmp", "backupiq.incomplete", "backupiq-start.log", "backupiq-restore.json",
    };

    /// <summary>What a folder within another one is.</summary>
    public static DataFolder Below(DataFolder parent, string name) => parent switch
    {
        DataFolder.Top when name == "pg_wal" => DataFolder.Wal,
        DataFolder.Top when name == "global" => DataFolder.Global,
        DataFolder.Top when name == "base" => DataFolder.Databases,
        DataFolder.Top when name == "pg_tblspc" => DataFolder.Tablespaces,
        DataFolder.Top when Emptied.Contains(name) => DataFolder.Emptied,
        DataFolder.Wal => DataFolder.Emptied,
        DataFolder.Databases => IsNumber(name) ? DataFolder.Relations : DataFolder.Plain,

        // A tablespace that lies within the data directory.
        DataFolder.Tablespaces => DataFolder.Databases,
        _ => DataFolder.Plain,
    };

    /// <summary>Whether an entry is left out, whatever it is.</summary>
    public static bool IsLeftOut(DataFolder folder, string name, bool isFolder) =>
        name.StartsWith("pgsql_tmp", StringComparison.Ordinal)
        || name.StartsWith("pg_internal.init", StringComparison.Ordinal)
        || (folder == DataFolder.Top && (LeftOut.Contains(name) || name.StartsWith(".s.PGSQL.", StringComparison.Ordinal)))
        || (folder == DataFolder.Global && name == "pg_control")
        || (!isFolder && folder is DataFolder.Emptied or DataFolder.Wal)
        || (isFolder && folder == DataFolder.Emptied);

    /// <summary>The relations of a database that lose their content in a crash: those with a fork <c>init</c>, by the names of their files.</summary>
    public static HashSet<uint> Unlogged(IEnumerable<byte[]> names)
    {
        HashSet<uint> unlogged = [];
        foreach (byte[] name in names)
        {
            if (RelationName.TryParse(name, out RelationName relation) && relation.Fork == "init")
            {
                unlogged.Add(relation.Number);
            }
        }

        return unlogged;
    }

    /// <summary>A name as text; those of a server are ASCII.</summary>
    public static string Text(ReadOnlySpan<byte> name) => Encoding.UTF8.GetString(name);

    private static bool IsNumber(string name) => uint.TryParse(name, NumberStyles.None, CultureInfo.InvariantCulture, out _);
}
