using System.Runtime.CompilerServices;
using System.Text;
using BackupIQ.Engine.Reading;
using BackupIQ.Engine.Snapshots;
using BackupIQ.Engine.Trees;
using BackupIQ.Primitives;
using BackupIQ.Repository;
using BackupIQ.Repository.Index;

namespace BackupIQ.Jobs.Browsing;

/// <summary>What a view shows.</summary>
/// <example>
/// <code>
/// await using RepositoryView view = await repository.ViewAsync(new ViewRequest { Snapshot = "latest" }, cancellationToken);
/// if (await view.FindAsync(["etc"u8.ToArray(), "hosts"u8.ToArray()], cancellationToken) is { IsFolder: false } entry)
/// {
///     byte[] start = new byte[100];
///     int read = await view.OpenFile(entry).ReadAsync(0, start, cancellationToken);
///     Console.Write(System.Text.Encoding.UTF8.GetString(start, 0, read));
/// }
/// </code>
/// </example>
public sealed record ViewRequest
{
    /// <summary>One snapshot, in any form that names one; null: all that <see cref="Query"/> chooses, in folders by time, host and tag.</summary>
    public string? Snapshot { get; init; }

    /// <summary>The folder of that snapshot that becomes the root, as bytes.</summary>
    public byte[] Path { get; init; } = [(byte)'/'];

    /// <summary>Chooses among the snapshots.</summary>
    public SnapshotQuery Query { get; init; } = new();
}

/// <summary>
/// Snapshots as folders and files, for whatever shows them so: read at random, everything verified, within a budget of memory. New snapshots
/// appear, and what maintenance moves meanwhile is found again. Safe for any thread.
/// </summary>
/// <remarks>It announces no session: a mount of months would keep every prune waiting.</remarks>
public sealed class RepositoryView : IAsyncDisposable
{
    /// <summary>After something was gone, index and snapshots are loaded anew, but no more often than this: it may be lost for good.</summary>
    private static readonly TimeSpan RenewalAge = TimeSpan.FromSeconds(30);

    /// <summary>Snapshots are listed again when somebody looks and so much time has passed.</summary>
    private static readonly TimeSpan ListingAge = TimeSpan.FromSeconds(10);

    private static ReadOnlySpan<byte> Latest => "latest"u8;

    private readonly BackupRepository _repository;
    private readonly RepositoryOptions _options;
    private readonly ViewRequest _request;
    private readonly Action<IEnumerable<string>> _tell;
    private readonly TimeProvider _time;
    private readonly SemaphoreSlim _loading = new(1, 1);
    private readonly Lock _gate = new();
    private Generation _current;
    private long _listedAt;
    private long _renewedAt;

    private RepositoryView(
        BackupRepository repository, RepositoryOptions options, ViewRequest request, Action<IEnumerable<string>> tell, TimeProvider time, Generation first, ViewEntry root)
    {
        _repository = repository;
        _options = options;
        _request = request;
        _tell = tell;
        _time = time;
        _current = first;
        _listedAt = time.GetTimestamp();
        Root = root;
    }

    /// <summary>The uppermost folder.</summary>
    public ViewEntry Root { get; }

    /// <summary>Bytes of opened frames that are kept now.</summary>
    internal long HeldBytes => _current.Reader.HeldBytes;

    /// <summary>How often the index was loaded.</summary>
    internal int Loads => _current.Number + 1;

    /// <summary>The entry of that name in a folder, or null.</summary>
    /// <exception cref="BackupIQException">The folder is damaged, or the storage failed.</exception>
    public async ValueTask<ViewEntry?> FindAsync(ViewEntry folder, byte[] name, CancellationToken cancellationToken)
    {
        if (folder.Virtual is { } own)
        {
            // A snapshot that is known needs no new listing; whether another is the latest by now does, and so does a name that is not known.
            ViewEntry? known = name.AsSpan().SequenceEqual(Latest) ? null : FindVirtual(own, name);
            if (known is null)
            {
                await RefreshIfOldAsync(cancellationToken).ConfigureAwait(false);
                known = FindVirtual(own, name);
            }

            return known;
        }

        if (folder.Tree is not { } tree)
        {
            return null;
        }

        Node? node = await ReadAsync(reader => reader.Trees.Find(tree, name), cancellationToken).ConfigureAwait(false);
        return node is null ? null : ViewEntry.Of(node);
    }

    /// <summary>The entry that these names lead to from the root, or null.</summary>
    /// <exception cref="BackupIQException">A folder on the way is damaged, or the storage failed.</exception>
    public async ValueTask<ViewEntry?> FindAsync(IReadOnlyList<byte[]> names, CancellationToken cancellationToken)
    {
        ViewEntry? entry = Root;
        foreach (byte[] name in names)
        {
            entry = await FindAsync(entry, name, cancellationToken).ConfigureAwait(false);
            if (entry is null)
            {
                return null;
            }
        }

        return entry;
    }

    /// <summary>What is in a folder, sorted by the bytes of the names; read page by page while it is enumerated.</summary>
    /// <exception cref="BackupIQException">The folder is damaged, or the storage failed.</exception>
    public async IAsyncEnumerable<ViewEntry> ListAsync(ViewEntry folder, [EnumeratorCancellation] CancellationToken cancellationToken)
    {
        if (folder.Virtual is { } own)
        {
            await RefreshIfOldAsync(cancellationToken).ConfigureAwait(false);
            foreach (ViewEntry entry in ListVirtual(own, _current.Snapshots))
            {
                yield return entry;
            }
        }
        else if (folder.Tree is { } tree)
        {
            foreach (ChunkId page in await ReadAsync(reader => reader.Trees.PagesOf(tree), cancellationToken).ConfigureAwait(false))
            {
                cancellationToken.ThrowIfCancellationRequested();
                foreach (Node node in await ReadAsync(reader => reader.Trees.ReadPage(page), cancellationToken).ConfigureAwait(false))
                {
                    yield return ViewEntry.Of(node);
                }
            }
        }
    }

    /// <summary>Opens a file for reading at random. Nothing is read before it is asked for.</summary>
    /// <exception cref="BackupIQException"><c>CorruptData</c>: it is no file, or what the snapshot says of it does not agree.</exception>
    public ViewFile OpenFile(ViewEntry entry)
    {
        Node node = entry.Node ?? throw new CorruptDataException("It is no file.");
        Generation generation = Acquire();
        try
        {
            return new ViewFile(this, node, generation.Number, generation.Reader.OpenFile(node));
        }
        finally
        {
            Release(generation);
        }
    }

    /// <summary>Lets go of everything. Nobody may read any more.</summary>
    public ValueTask DisposeAsync()
    {
        lock (_gate)
        {
            _current.IsRetired = true;
            if (_current.Users == 0)
            {
                _current.Dispose();
            }
        }

        _loading.Dispose();
        return ValueTask.CompletedTask;
    }

    internal static async Task<RepositoryView> OpenAsync(
        BackupRepository repository,
        RepositoryOptions options,
        ViewRequest request,
        Action<IEnumerable<string>> tell,
        TimeProvider time,
        CancellationToken cancellationToken)
    {
        IReadOnlyList<SnapshotInfo> snapshots = await ListSnapshotsAsync(repository, options, request, tell, cancellationToken).ConfigureAwait(false);
        Generation first = await LoadAsync(repository, options, snapshots, tell, number: 0, cancellationToken).ConfigureAwait(false);
        try
        {
            return new RepositoryView(repository, options, request, tell, time, first, FindRoot(first, request));
        }
        catch
        {
            first.Dispose();
            throw;
        }
    }

    /// <summary>Reads from the reader as it is now, and once more from a new one where something was gone.</summary>
    internal async ValueTask<T> ReadAsync<T>(Func<SnapshotReader, T> read, CancellationToken cancellationToken)
    {
        Generation generation = Acquire();
        try
        {
            return read(generation.Reader);
        }
        catch (BackupIQException e) when (IsGone(e))
        {
            // Below, once the lease is given back.
        }
        finally
        {
            Release(generation);
        }

        await RenewAsync(generation.Number, cancellationToken).ConfigureAwait(false);
        generation = Acquire();
        try
        {
            return read(generation.Reader);
        }
        finally
        {
            Release(generation);
        }
    }

    /// <summary>The reader as it is now, held until it is given back.</summary>
    internal Generation Acquire()
    {
        lock (_gate)
        {
            _current.Users++;
            return _current;
        }
    }

    internal void Release(Generation generation)
    {
        lock (_gate)
        {
            if (--generation.Users == 0 && generation.IsRetired)
            {
                generation.Dispose();
            }
        }
    }

    /// <summary>Whether maintenance may have moved what was not found: packs go once what they hold is elsewhere.</summary>
    internal static bool IsGone(BackupIQException exception) =>
        exception.Code == ErrorCodes.ChunkMissing || exception.Code == ErrorCodes.StorageObjectNotFound;

    /// <summary>Loads index and snapshots anew, unless somebody did so since the reader of that number.</summary>
    internal async Task RenewAsync(int seen, CancellationToken cancellationToken)
    {
        await _loading.WaitAsync(cancellationToken).ConfigureAwait(false);
        try
        {
            if (_current.Number == seen && (_renewedAt == 0 || _time.GetElapsedTime(_renewedAt) > RenewalAge))
            {
                _renewedAt = _time.GetTimestamp();

                // Where one was named it stays that one, and readable for as long as its data is there, though it be forgotten.
                IReadOnlyList<SnapshotInfo> snapshots = _request.Snapshot is not null
                    ? _current.Snapshots
                    : await ListSnapshotsAsync(_repository, _options, _request, _tell, cancellationToken).ConfigureAwait(false);
                Replace(await LoadAsync(_repository, _options, snapshots, _tell, seen + 1, cancellationToken).ConfigureAwait(false));
            }
        }
        finally
        {
            _loading.Release();
        }
    }

    // The snapshots that are shown, oldest first; they are listed before the index is loaded, so that it has what they need.
    private static async Task<IReadOnlyList<SnapshotInfo>> ListSnapshotsAsync(
        BackupRepository repository, RepositoryOptions options, ViewRequest request, Action<IEnumerable<string>> tell, CancellationToken cancellationToken)
    {
        SnapshotStore store = new(repository, options.At);
        IReadOnlyList<Snapshot> all = await store.ListAsync(cancellationToken).ConfigureAwait(false);
        Snapshot[] chosen = [.. all.Where(snapshot => request.Query.Matches(SnapshotInfo.From(snapshot)))];
        if (request.Snapshot is { } name)
        {
            chosen = [store.Choose(chosen, name)];
        }

        tell(store.Damaged);
        return [.. chosen.Select(SnapshotInfo.From)];
    }

    private static async Task<Generation> LoadAsync(
        BackupRepository repository,
        RepositoryOptions options,
        IReadOnlyList<SnapshotInfo> snapshots,
        Action<IEnumerable<string>> tell,
        int number,
        CancellationToken cancellationToken)
    {
        IndexLoad load = await IndexLoader.LoadAsync(repository, options.CacheFolder, cancellationToken).ConfigureAwait(false);
        tell(load.Findings);
        SnapshotReader reader = new(repository, load.Index, options.ToReading(), notice => tell([notice]));
        return new Generation(number, load.Index, reader, snapshots);
    }

    private static ViewEntry FindRoot(Generation generation, ViewRequest request)
    {
        if (request.Snapshot is null)
        {
            return ViewEntry.OfVirtual([], new VirtualFolder(VirtualKind.Root), DateTimeOffset.UnixEpoch);
        }

        SnapshotInfo snapshot = generation.Snapshots[0];
        ViewEntry entry = ViewEntry.OfSnapshot([], snapshot);
        foreach (byte[] name in Sources.Files.Patterns.BytePath.Names(request.Path))
        {
            Node? node = entry.Tree is { } tree ? generation.Reader.Trees.Find(tree, name) : null;
            entry = node is not null
                ? ViewEntry.Of(node)
                : throw new BackupIQException(ErrorCodes.PathNotFound, $"Snapshot {snapshot.ShortId} has no such path").With("path", PathText.Show(request.Path));
        }

        return entry.IsFolder
            ? entry
            : throw new BackupIQException(ErrorCodes.Usage, "Only a folder can be shown as one", "Name the folder that it is in.").With("path", PathText.Show(request.Path));
    }

    private ViewEntry? FindVirtual(VirtualFolder folder, byte[] name) =>
        ListVirtual(folder, _current.Snapshots).FirstOrDefault(entry => entry.Info.Name.AsSpan().SequenceEqual(name));

    private static IEnumerable<ViewEntry> ListVirtual(VirtualFolder folder, IReadOnlyList<SnapshotInfo> snapshots)
    {
        DateTimeOffset newest = snapshots.Count > 0 ? snapshots[^1].Time : DateTimeOffset.UnixEpoch;
        return folder.Kind switch
        {
            VirtualKind.Root =>
            [
                ViewEntry.OfVirtual("hosts"u8.ToArray(), new VirtualFolder(VirtualKind.Hosts), newest),
                .. snapshots.Count > 0 ? [ViewEntry.OfSnapshot(Latest.ToArray(), snapshots[^1])] : Array.Empty<ViewEntry>(),
                ViewEntry.OfVirtual("snapshots"u8.ToArray(), new VirtualFolder(VirtualKind.Snapshots), newest),
                ViewEntry.OfVirtual("tags"u8.ToArray(), new VirtualFolder(VirtualKind.Tags), newest),
            ],
            VirtualKind.Hosts => Groups(snapshots, static snapshot => [snapshot.Hostname], VirtualKind.Host),
            VirtualKind.Tags => Groups(snapshots, static snapshot => snapshot.Tags, VirtualKind.Tag),
            VirtualKind.Host => Folders(snapshots.Where(snapshot => snapshot.Hostname == folder.Key)),
            VirtualKind.Tag => Folders(snapshots.Where(snapshot => snapshot.Tags.Contains(folder.Key, StringComparer.Ordinal))),
            _ => Folders(snapshots),
        };
    }

    private static IEnumerable<ViewEntry> Groups(IReadOnlyList<SnapshotInfo> snapshots, Func<SnapshotInfo, IEnumerable<string>> keys, VirtualKind kind) =>
        snapshots
            .SelectMany(snapshot => keys(snapshot).Where(static key => key.Length > 0).Select(key => (key, snapshot.Time)))
            .GroupBy(static pair => pair.key, StringComparer.Ordinal)
            .Select(group => ViewEntry.OfVirtual(FileName(group.Key), new VirtualFolder(kind, group.Key), group.Max(static pair => pair.Time)))
            .OrderBy(static entry => entry.Info.Name, NameOrder);

    private static IEnumerable<ViewEntry> Folders(IEnumerable<SnapshotInfo> snapshots) =>
        snapshots
            .Select(static snapshot => ViewEntry.OfSnapshot(Encoding.ASCII.GetBytes(snapshot.Name[(snapshot.Name.IndexOf('-') + 1)..]), snapshot))
            .OrderBy(static entry => entry.Info.Name, NameOrder);

    private static Comparer<byte[]> NameOrder { get; } = Comparer<byte[]>.Create(static (a, b) => a.AsSpan().SequenceCompareTo(b));

    // A host or tag may be called what no file may.
    private static byte[] FileName(string text) => Encoding.UTF8.GetBytes(
        text is "." or ".." ? text.Replace(".", "%2E", StringComparison.Ordinal) : text.Replace("/", "%2F", StringComparison.Ordinal).Replace("\0", "%00", StringComparison.Ordinal));

    private async ValueTask RefreshIfOldAsync(CancellationToken cancellationToken)
    {
        if (_request.Snapshot is not null || _time.GetElapsedTime(Volatile.Read(ref _listedAt)) < ListingAge || !await _loading.WaitAsync(0, cancellationToken).ConfigureAwait(false))
        {
            return;
        }

        try
        {
            IReadOnlyList<SnapshotInfo> now = await ListSnapshotsAsync(_repository, _options, _request, _tell, cancellationToken).ConfigureAwait(false);
            if (!now.Select(Shown).SequenceEqual(_current.Snapshots.Select(Shown)))
            {
                Replace(await LoadAsync(_repository, _options, now, _tell, _current.Number + 1, cancellationToken).ConfigureAwait(false));
            }

            Volatile.Write(ref _listedAt, _time.GetTimestamp());
        }
        finally
        {
            _loading.Release();
        }
    }

    // What the folders are made from; tags come and go.
    private static (string Id, string Tags) Shown(SnapshotInfo snapshot) => (snapshot.Id, string.Join('\n', snapshot.Tags));

    private void Replace(Generation next)
    {
        lock (_gate)
        {
            Generation old = _current;
            _current = next;
            old.IsRetired = true;
            if (old.Users == 0)
            {
                old.Dispose();
            }
        }
    }

    /// <summary>Index, reader and snapshots as they were loaded together.</summary>
    internal sealed class Generation(int number, ChunkIndex index, SnapshotReader reader, IReadOnlyList<SnapshotInfo> snapshots) : IDisposable
    {
        public int Number { get; } = number;

        public SnapshotReader Reader { get; } = reader;

        public IReadOnlyList<SnapshotInfo> Snapshots { get; } = snapshots;

        public int Users { get; set; }

        public bool IsRetired { get; set; }

        public void Dispose()
        {
            Reader.Dispose();
            index.Dispose();
        }
    }
}
