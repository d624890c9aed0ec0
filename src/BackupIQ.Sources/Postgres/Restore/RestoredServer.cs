using System.Globalization;
using System.Text;
using BackupIQ.Primitives;
using BackupIQ.Sources.Files.Linux;
using BackupIQ.Sources.Postgres.Backup;

namespace BackupIQ.Sources.Postgres.Restore;

/// <summary>
/// A data directory that a backup is restored into: what is refused before anything is written, what is written beside the files of the backup, and in
/// which order it becomes one that a server can start from. Until <see cref="Complete"/> it has no <c>global/pg_control</c>, so that none can.
/// </summary>
public sealed class RestoredServer
{
    /// <summary>The file that tells what was planned, and what was reached.</summary>
    public const string Report = "backupiq-restore.json";

    private const string Incomplete = "backupiq.incomplete";
    private const uint FileMode = 0x180;
    private const uint FolderMode = 0x1C0;

    private readonly string _folder;
    private readonly PostgresDocument _document;
    private readonly IReadOnlyDictionary<string, string> _places;

    /// <summary>Nothing is written yet.</summary>
    /// <param name="folder">The data directory to be.</param>
    /// <param name="document">What the backup says of itself.</param>
    /// <param name="map">Where tablespaces go that lay elsewhere: old paths and new ones.</param>
    /// <exception cref="BackupIQException"><c>Usage</c>: a path is not absolute, or no tablespace lay where the map says.</exception>
    public RestoredServer(string folder, PostgresDocument document, IReadOnlyDictionary<string, string> map)
    {
        _folder = Path.GetFullPath(folder);
        _document = document;
        foreach ((string from, string to) in map)
        {
            if (!to.StartsWith('/') || to.Contains('\n') || document.Tablespaces.All(tablespace => tablespace.Location.TrimEnd('/') != from.TrimEnd('/')))
            {
                throw new BackupIQException(
                    ErrorCodes.Usage,
                    to.StartsWith('/') ? $"--tablespace-map: no tablespace of the backup lay at {from}" : $"--tablespace-map: {to} is not an absolute path",
                    document.Tablespaces.Count == 0 ? "The backup has no tablespaces." : $"Its tablespaces lay at {string.Join(", ", document.Tablespaces.Select(static one => one.Location))}.");
            }
        }

        _places = document.Tablespaces.ToDictionary(
            static tablespace => tablespace.Oid.ToString(CultureInfo.InvariantCulture),
            tablespace => Path.TrimEndingDirectorySeparator(
                map.FirstOrDefault(one => one.Key.TrimEnd('/') == tablespace.Location.TrimEnd('/')).Value ?? tablespace.Location),
            StringComparer.Ordinal);
    }

    /// <summary>The data directory.</summary>
    public string Folder => _folder;

    /// <summary>Where each tablespace goes, by its oid; those that lay within the data directory stay in it and are not among them.</summary>
    public IReadOnlyDictionary<string, string> Tablespaces => _places;

    /// <summary>Refuses what may not be written over.</summary>
    /// <param name="isDelta">What is there may be made use of: what a restore left that was interrupted, or a stopped server of the same cluster.</param>
    /// <exception cref="BackupIQException"><c>RestoreTarget</c>: a server runs there, or a folder is not empty. <c>WrongServer</c>: it is another cluster's.</exception>
    public void RequireFree(bool isDelta = false)
    {
        if (RunningServer(_folder) is { } process)
        {
            throw new BackupIQException(
                ErrorCodes.RestoreTarget, $"A server runs in the data directory (process {process}); nothing was written", "Restore to another folder, or stop the server and move its data directory away.")
                .With("path", _folder);
        }

        bool isLeft = File.Exists(Path.Combine(_folder, Incomplete));
        if (isDelta && (isLeft || IsOfCluster()))
        {
            return;
        }

        foreach (string folder in (string[])[_folder, .. _places.Values])
        {
            if (File.Exists(folder) || (Directory.Exists(folder) && Directory.EnumerateFileSystemEntries(folder).Any()))
            {
                bool isTablespace = folder != _folder;
                isLeft &= !isTablespace;
                throw new BackupIQException(
                    ErrorCodes.RestoreTarget,
                    isLeft ? "A restore into this folder was interrupted and left it incomplete; nothing was written" : $"The {(isTablespace ? "place of a tablespace" : "target")} is not an empty folder; nothing was written",
                    isLeft ? "Run the restore again with --delta, which makes use of what is there, or empty the folder." : isTablespace ? "Name another place with --tablespace-map OLD=NEW." : "Restore to a folder that is empty or not there.")
                    .With("path", folder);
            }
        }
    }

    // Whether a server of the cluster that was backed up lies there, stopped.
    private bool IsOfCluster()
    {
        string control = Path.Combine(_folder, "global", "pg_control");
        if (!File.Exists(control))
        {
            return false;
        }

        string? system = ControlFile.TryRead(File.ReadAllBytes(control))?.SystemIdentifier.ToString(CultureInfo.InvariantCulture);
        return system == _document.SystemIdentifier ? true : throw new BackupIQException(
            ErrorCodes.WrongServer, $"The folder is the data directory of another cluster ({system ?? "which its pg_control does not tell"}; the backup is of {_document.SystemIdentifier}); nothing was written", "Restore to another folder.")
            .With("path", _folder);
    }

    /// <summary>Makes the folders, for their owner alone, and marks the directory as one that is being restored.</summary>
    public void Begin()
    {
        foreach (string folder in (string[])[_folder, .. _places.Values])
        {
            Directory.CreateDirectory(folder);
            Own(folder, FolderMode);
        }

        Write(Incomplete, "A restore is being made here; what is here is not whole.\n");
        DurableFile.SyncFolder(_folder);

        // Of a server that lay here: from now on none starts by mistake.
        string control = Path.Combine(_folder, "global", "pg_control");
        if (File.Exists(control))
        {
            File.Delete(control);
            DurableFile.SyncFolder(Path.Combine(_folder, "global"));
        }
    }

    /// <summary>What of the data directory a restore that removes what the backup does not have must leave alone, as patterns.</summary>
    public static IReadOnlyList<string> Kept { get; } = ["/" + Incomplete];

    /// <summary>
    /// Makes the folder of a database whose files are not restored: so much that the server starts and recovers, and that the database can be dropped. Nobody can
    /// connect to it.
    /// </summary>
    public void LeaveOut(long database)
    {
        string name = database.ToString(CultureInfo.InvariantCulture);
        string folder = Path.Combine("base", name);

        // Of an earlier restore nothing may be left that looks like the database.
        IEnumerable<string> inTablespaces = _places.Values.SelectMany(static place => Directory.EnumerateDirectories(place)).Select(version => Path.Combine(version, name));
        foreach (string left in inTablespaces.Prepend(Path.Combine(_folder, folder)).Where(Directory.Exists).ToArray())
        {
            Directory.Delete(left, recursive: true);
        }

        Directory.CreateDirectory(Path.Combine(_folder, folder));
        Own(Path.Combine(_folder, folder), FolderMode);
        Write(Path.Combine(folder, "PG_VERSION"), $"{_document.Major.ToString(CultureInfo.InvariantCulture)}\n");
    }

    /// <summary>Writes <see cref="Report"/>.</summary>
    public void WriteReport(string text)
    {
        Write(Report, text);
        using FileStream file = new(Path.Combine(_folder, Report), System.IO.FileMode.Open, FileAccess.ReadWrite, FileShare.ReadWrite, bufferSize: 0);
        file.Flush(flushToDisk: true);
    }

    /// <summary>Gives a file that was put into <c>pg_wal</c> to who owns the rest, and says that it is archived: the server is not to archive it again, in part.</summary>
    public void GiveLog(string name)
    {
        Own(Path.Combine(_folder, "pg_wal", name), FileMode);
        string status = Path.Combine("pg_wal", "archive_status");
        if (!Directory.Exists(Path.Combine(_folder, status)))
        {
            Directory.CreateDirectory(Path.Combine(_folder, status));
            Own(Path.Combine(_folder, status), FolderMode);
        }

        Write(Path.Combine(status, name + ".done"), "");
    }

    /// <summary>Writes what the server needs to recover: links, the map of tablespaces, settings and <c>recovery.signal</c>.</summary>
    /// <param name="target">Where it stops, as settings.</param>
    /// <param name="timeline">The timeline that it recovers along.</param>
    /// <param name="keepArchiving">The server archives as the one did that was backed up; else it does not, lest it write into that one's archive.</param>
    public void WriteRecovery(IReadOnlyList<(string Name, string Value)> target, long timeline, bool keepArchiving)
    {
        foreach ((string oid, string place) in _places)
        {
            string link = Path.Combine(_folder, "pg_tblspc", oid);
            File.Delete(link);
            File.CreateSymbolicLink(link, place);
        }

        string map = Path.Combine(_folder, "tablespace_map");
        if (File.Exists(map))
        {
            Write("tablespace_map", RecoverySettings.TablespaceMap(File.ReadAllText(map), _places));
        }

        WriteOutsideConfiguration();
        // A timeline's number is refused where its history is not at hand: then it can only be the backup's own.
        string number = timeline.ToString(CultureInfo.InvariantCulture);
        bool isKnown = timeline == 1 || File.Exists(Path.Combine(_folder, "pg_wal", $"{timeline:X8}.history"));
        List<(string, string)> settings =
        [
            // All that recovery needs lies in pg_wal; a command must be named all the same, and this one has nothing.
            ("restore_command", "false"),
            ("recovery_target_timeline", isKnown ? number : "current"),
            .. target,
            ("primary_conninfo", ""),
            ("primary_slot_name", ""),
        ];
        if (!keepArchiving)
        {
            settings.Add(("archive_mode", "off"));
        }

        string auto = Path.Combine(_folder, "postgresql.auto.conf");
        Write("postgresql.auto.conf", RecoverySettings.AutoConf(File.Exists(auto) ? File.ReadAllText(auto) : "", settings));
        Write("recovery.signal", "");
    }

    /// <summary>
    /// Makes all that was written durable, file by file, and then gives <c>global/pg_control</c> its name: from now on a server starts there.
    /// </summary>
    /// <param name="control">The file as it was restored, in the data directory.</param>
    public void Complete(string control)
    {
        File.Delete(Path.Combine(_folder, Incomplete));
        foreach (string folder in (string[])[_folder, .. _places.Values])
        {
            Sync(folder);
            DurableFile.SyncFolder(Path.GetDirectoryName(folder) ?? "/");
        }

        File.Move(control, Path.Combine(_folder, "global", "pg_control"), overwrite: false);
        DurableFile.SyncFolder(Path.Combine(_folder, "global"));
        Directory.Delete(Path.GetDirectoryName(control)!);
        DurableFile.SyncFolder(_folder);
    }

    /// <summary>The process of a server that runs in a data directory; null: none does.</summary>
    internal static int? RunningServer(string folder)
    {
        string file = Path.Combine(folder, "postmaster.pid");
        return File.Exists(file) && int.TryParse(File.ReadLines(file).FirstOrDefault(), NumberStyles.None, CultureInfo.InvariantCulture, out int process) && Directory.Exists($"/proc/{process}")
            ? process
            : null;
    }

    // Files that lay outside are put into the data directory, where a server looks for them that is told nothing else; what names the old places is overridden.
    private void WriteOutsideConfiguration()
    {
        if (!_document.ConfigFiles.ContainsKey("config_file"))
        {
            return;
        }

        string path = Path.Combine(_folder, "postgresql.conf");
        StringBuilder text = new(File.ReadAllText(path));
        text.Append("\n# Written by 'backupiq pg restore': this configuration lay outside of the data directory.\n");
        List<(string, string)> settings = [("data_directory", _folder), ("external_pid_file", "")];
        foreach ((string setting, string name) in ((string, string)[])[("hba_file", "pg_hba.conf"), ("ident_file", "pg_ident.conf")])
        {
            string file = Path.Combine(_folder, _document.ConfigFiles.TryGetValue(setting, out string? old) ? Path.GetFileName(old) : name);
            if (File.Exists(file))
            {
                settings.Add((setting, file));
            }
        }

        RecoverySettings.Append(text, settings);
        Write("postgresql.conf", text.ToString());
    }

    private void Write(string name, string content)
    {
        string path = Path.Combine(_folder, name);
        File.WriteAllText(path, content, new UTF8Encoding(encoderShouldEmitUTF8Identifier: false));
        Own(path, FileMode);
    }

    // For its owner alone, as a server insists. Only root may give a file away; anybody else is the owner anyway.
    private void Own(string path, uint mode)
    {
        int descriptor = Syscalls.OpenAt(AtFlags.WorkingFolder, Encoding.UTF8.GetBytes(path), OpenFlags.ReadOnly);
        using DescriptorHandle handle = new(descriptor);
        int error = descriptor >= 0 && LibC.GetEUid() == 0 ? Syscalls.ChangeOwner(descriptor, (uint)_document.OwnerUserId, (uint)_document.OwnerGroupId) : Math.Min(descriptor, 0);
        error = error < 0 ? error : Syscalls.ChangeMode(descriptor, mode);
        if (error < 0)
        {
            throw new BackupIQException(ErrorCodes.Restore, $"Owner and permissions cannot be set: {LinuxError.Describe(-error)}").With("path", path);
        }
    }

    private static void Sync(string folder)
    {
        foreach (string file in Directory.EnumerateFiles(folder))
        {
            if (new FileInfo(file).LinkTarget is null)
            {
                using FileStream stream = new(file, System.IO.FileMode.Open, FileAccess.ReadWrite, FileShare.ReadWrite, bufferSize: 0);
                stream.Flush(flushToDisk: true);
            }
        }

        foreach (string below in Directory.EnumerateDirectories(folder))
        {
            if (new DirectoryInfo(below).LinkTarget is null)
            {
                Sync(below);
            }
        }

        DurableFile.SyncFolder(folder);
    }
}
