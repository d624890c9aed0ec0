using BackupIQ.Primitives;
using BackupIQ.Sources.Postgres.Wal;

namespace BackupIQ.Sources.Postgres.Streaming;

/// <summary>
/// Where the files that a server sends are put until they are stored: <c>data</c> as the data directory has them, tablespaces under
/// <c>tablespaces/OID</c>. It is private, and gone when it is disposed; what a run left that was killed goes with the next one.
/// </summary>
internal sealed class StreamedFolder : ITarReceiver, IDisposable
{
    private const string Prefix = "pg-stream-";

    private readonly Dictionary<string, (long Size, uint Checksum)> _received = new(StringComparer.Ordinal);
    private readonly FileStream _lock;
    private string _root;
    private string _prefix = "";
    private string _path = "";
    private long _modified;
    private uint _mode;
    private FileStream? _file;
    private uint _checksum;

    /// <summary>Makes the folder below <paramref name="parent"/>.</summary>
    public StreamedFolder(string parent)
    {
        Directory.CreateDirectory(parent);
        Sweep(parent);
        Place = Path.Combine(parent, Prefix + SessionId.New());
        _lock = DurableFile.OpenPrivate(LockOf(Place), FileMode.CreateNew, FileShare.None);
        if (OperatingSystem.IsWindows())
        {
            Directory.CreateDirectory(Place);
        }
        else
        {
            Directory.CreateDirectory(Place, UnixFileMode.UserRead | UnixFileMode.UserWrite | UnixFileMode.UserExecute);
        }

        Data = Path.Combine(Place, "data");
        Directory.CreateDirectory(Data);
        _root = Data;
    }

    /// <summary>The folder itself.</summary>
    public string Place { get; }

    /// <summary>The data directory in it.</summary>
    public string Data { get; }

    /// <summary>Who owned the files on the server.</summary>
    public (uint UserId, uint GroupId) Owner { get; private set; }

    /// <summary>Size and CRC-32C of each file that came, by its path as the server's manifest writes it.</summary>
    public IDictionary<string, (long Size, uint Checksum)> Received => _received;

    /// <summary>What comes next belongs to the data directory.</summary>
    public void EnterData() => (_root, _prefix) = (Data, "");

    /// <summary>What comes next belongs to a tablespace.</summary>
    public void EnterTablespace(uint oid)
    {
        (_root, _prefix) = (TablespaceOf(oid), $"pg_tblspc/{oid}/");
        Directory.CreateDirectory(_root);

        // The server sends a map of them in place of the links.
        Directory.CreateDirectory(Path.Combine(Data, "pg_tblspc"));
        File.CreateSymbolicLink(Path.Combine(Data, "pg_tblspc", $"{oid}"), _root);
    }

    /// <summary>Where a tablespace's files are put.</summary>
    public string TablespaceOf(uint oid) => Path.Combine(Place, "tablespaces", $"{oid}");

    /// <inheritdoc/>
    public void Begin(TarEntry entry)
    {
        _path = entry.Path is "" or "." ? "" : entry.Path;
        string full = Path.Combine(_root, _path);
        if (_path.Length == 0 || entry.Kind == '5')
        {
            // The data directory's own entry names its owner best.
            Owner = (entry.UserId, entry.GroupId);
            Directory.CreateDirectory(full);
            SetMode(full, entry.Mode | 0x1C0);
            return;
        }

        Directory.CreateDirectory(Path.GetDirectoryName(full)!);
        if (entry.Kind == '2')
        {
            // To a tablespace, or to where pg_wal lies: what is there comes by itself.
            return;
        }

        _modified = entry.Modified;
        _mode = entry.Mode | 0x180;
        _checksum = WalChecksum.Start;
        _file = DurableFile.OpenPrivate(full, FileMode.CreateNew, FileShare.None);
    }

    /// <inheritdoc/>
    public void Write(ReadOnlySpan<byte> piece)
    {
        _file!.Write(piece);
        _checksum = WalChecksum.Append(_checksum, piece);
    }

    /// <inheritdoc/>
    public void End()
    {
        if (_file is null)
        {
            return;
        }

        string name = _file.Name;
        long size = _file.Length;
        _file.Dispose();
        _file = null;
        SetMode(name, _mode);
        File.SetLastWriteTimeUtc(name, DateTimeOffset.FromUnixTimeSeconds(Math.Clamp(_modified, 0, 253_402_300_799)).UtcDateTime);
        _received[_prefix + _path] = (size, WalChecksum.Finish(_checksum));
    }

    /// <inheritdoc/>
    public void Dispose()
    {
        _file?.Dispose();
        Directory.Delete(Place, recursive: true);
        File.Delete(_lock.Name);
        _lock.Dispose();
    }

    // As on the server, and so that they can be read here; the folder around them is closed to others.
    private static void SetMode(string path, uint mode)
    {
        if (!OperatingSystem.IsWindows())
        {
            File.SetUnixFileMode(path, (UnixFileMode)mode);
        }
    }

    private static string LockOf(string place) => place + ".lock";

    // Who holds a lock is at work; a lock that can be had is a dead one's.
    private static void Sweep(string parent)
    {
        foreach (string file in Directory.EnumerateFiles(parent, Prefix + "*.lock"))
        {
            try
            {
                using FileStream held = new(file, FileMode.Open, FileAccess.ReadWrite, FileShare.None);
                string place = file[..^".lock".Length];
                if (Directory.Exists(place))
                {
                    Directory.Delete(place, recursive: true);
                }

                File.Delete(file);
            }
            catch (Exception e) when (e is IOException or UnauthorizedAccessException)
            {
            }
        }
    }
}
