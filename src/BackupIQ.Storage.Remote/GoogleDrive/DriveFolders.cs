using System.Collections.Concurrent;
using BackupIQ.Primitives;

namespace BackupIQ.Storage.Remote.GoogleDrive;

/// <summary>
/// The folders of a storage: its own, and in it one for each first segment of keys, so that a listing asks for no more than it is about. Since names are not
/// taken there, two who begin at once may make a folder twice: all of one name count as one, and the first takes what is new.
/// </summary>
internal sealed class DriveFolders(DriveClient client, IReadOnlyList<string> path) : IDisposable
{
    private readonly SemaphoreSlim _gate = new(1);
    private readonly ConcurrentDictionary<string, bool> _sure = new(StringComparer.Ordinal);
    private volatile Known? _known;

    /// <summary>All folders at this moment, or as they were known a while ago.</summary>
    /// <param name="isFresh">Asks again.</param>
    /// <param name="cancellationToken">Stops.</param>
    public async Task<Known> GetAsync(bool isFresh, CancellationToken cancellationToken)
    {
        if (!isFresh && _known is { } known)
        {
            return known;
        }

        await _gate.WaitAsync(cancellationToken).ConfigureAwait(false);
        try
        {
            return !isFresh && _known is { } meanwhile ? meanwhile : _known = Joined(_known, await LookAsync(cancellationToken).ConfigureAwait(false));
        }
        finally
        {
            _gate.Release();
        }
    }

    /// <summary>The folder into which a key's file goes; what is missing is made.</summary>
    public async Task<string> ForPutAsync(StorageKey key, CancellationToken cancellationToken)
    {
        string segment = SegmentOf(key.Value);
        if (_known?.Of(segment) is [{ } there, ..] && _sure.ContainsKey(there))
        {
            return there;
        }

        await _gate.WaitAsync(cancellationToken).ConfigureAwait(false);
        try
        {
            Known known = _known?.Of(segment) is [_, ..] ? _known : Joined(_known, await LookAsync(cancellationToken).ConfigureAwait(false));
            if (known.Root.Count == 0)
            {
                known = known with { Root = [await MakeRootAsync(cancellationToken).ConfigureAwait(false)] };
            }

            if (known.Of(segment).Count == 0)
            {
                DriveFile made = await client.MakeFolderAsync(segment, known.Root[0], $"The folder {segment} could not be made", cancellationToken).ConfigureAwait(false);
                known = known with { Below = new Dictionary<string, IReadOnlyList<string>>(known.Below, StringComparer.Ordinal) { [segment] = [made.Id] } };
            }

            _known = known;
            await MakeSureAsync(known.Root[0], path[^1], null, cancellationToken).ConfigureAwait(false);
            if (segment.Length > 0)
            {
                await MakeSureAsync(known.Of(segment)[0], segment, known.Root, cancellationToken).ConfigureAwait(false);
            }

            return known.Of(segment)[0];
        }
        finally
        {
            _gate.Release();
        }
    }

    // What goes into a folder that is another one is lost to everybody else; so a folder is looked at by its id before the first put into it.
    private async Task MakeSureAsync(string id, string name, IReadOnlyList<string>? parents, CancellationToken cancellationToken)
    {
        const string What = "The storage's folder could not be looked at";
        if (_sure.ContainsKey(id))
        {
            return;
        }

        if (await client.GetAsync(id, What, cancellationToken).ConfigureAwait(false) is not { IsFolder: true } there || there.Name != name || (parents is not null && !parents.Contains(there.Parent)))
        {
            _known = null;
            throw new StorageException(ErrorCodes.StorageConnection, $"{What}: it is not what it was a moment ago", "Run again.");
        }

        _sure[id] = true;
    }

    /// <summary>Forgets what it knows: something that was there is not.</summary>
    public void Forget()
    {
        _known = null;
        _sure.Clear();
    }

    /// <summary>The first segment of a key that has several; empty for one that lies in the storage's own folder.</summary>
    public static string SegmentOf(string key) => key.IndexOf('/') is var slash and > 0 ? key[..slash] : "";

    /// <inheritdoc/>
    public void Dispose() => _gate.Dispose();

    // A listing may not show yet what this client made a moment ago.
    private static Known Joined(Known? before, Known now)
    {
        if (before is null || before.Root.Count == 0)
        {
            return now;
        }

        Dictionary<string, IReadOnlyList<string>> below = new(now.Below, StringComparer.Ordinal);
        foreach ((string segment, IReadOnlyList<string> ids) in before.Below)
        {
            below[segment] = [.. now.Of(segment).Union(ids)];
        }

        return new Known([.. now.Root.Union(before.Root)], below);
    }

    private async Task<Known> LookAsync(CancellationToken cancellationToken)
    {
        IReadOnlyList<string> level = [client.Uppermost];
        foreach (string name in path)
        {
            level = (await ChildrenAsync(level, cancellationToken).ConfigureAwait(false)).GetValueOrDefault(name) ?? [];
            if (level.Count == 0)
            {
                return new Known([], new Dictionary<string, IReadOnlyList<string>>());
            }
        }

        return new Known(level, await ChildrenAsync(level, cancellationToken).ConfigureAwait(false));
    }

    private async Task<string> MakeRootAsync(CancellationToken cancellationToken)
    {
        string parent = client.Uppermost;
        bool isNew = false;
        foreach (string name in path)
        {
            const string What = "The storage's folder could not be made";
            IReadOnlyList<string>? there = isNew ? null : (await ChildrenAsync([parent], cancellationToken).ConfigureAwait(false)).GetValueOrDefault(name);
            isNew = there is null;
            parent = there?[0] ?? (await client.MakeFolderAsync(name, parent, What, cancellationToken).ConfigureAwait(false)).Id;
        }

        return parent;
    }

    private async Task<IReadOnlyDictionary<string, IReadOnlyList<string>>> ChildrenAsync(IReadOnlyList<string> parents, CancellationToken cancellationToken)
    {
        List<DriveFile> found = [];
        foreach (string parent in parents)
        {
            found.AddRange(await client.FindAsync(
                $"{DriveClient.Quote(parent)} in parents and mimeType = '{DriveFile.FolderType}' and trashed = false", "The folders could not be listed", isNewestFirst: false, cancellationToken).ConfigureAwait(false));
        }

        return found.Where(static file => file.IsFolder).GroupBy(static file => file.Name, StringComparer.Ordinal)
            .ToDictionary(static same => same.Key, static same => (IReadOnlyList<string>)[.. same.Order().Select(static file => file.Id).Distinct()], StringComparer.Ordinal);
    }

    /// <summary>Folders by their ids.</summary>
    /// <param name="Root">The storage's own; empty where it is not there yet.</param>
    /// <param name="Below">By the first segment of keys.</param>
    internal sealed record Known(IReadOnlyList<string> Root, IReadOnlyDictionary<string, IReadOnlyList<string>> Below)
    {
        /// <summary>Of a segment; of the storage's own folder where that is empty.</summary>
        public IReadOnlyList<string> Of(string segment) => segment.Length == 0 ? Root : Below.GetValueOrDefault(segment) ?? [];
    }
}
