using System.Text;
using BackupIQ.Jobs.Composition;
using BackupIQ.Primitives;
using BackupIQ.Storage;
using BackupIQ.Storage.Mirroring;

namespace BackupIQ.Tests.Storage.Mirroring;

/// <summary>Storages with mirrors, as repositories use them, and objects that rely on each other as a repository's do.</summary>
internal static class MirrorKit
{
    /// <summary>What each storage of a test says that it holds.</summary>
    public static readonly StorageKey Identity = new("config/a.00000001");

    public static MirrorOptions Options(Action<MirrorNotice>? onNotice = null, bool isNew = false) => new()
    {
        Layout = MirroredStorage.Layout,
        Identify = async (storage, token) => await storage.StatAsync(Identity, token) is null ? null : await TextAsync(storage, Identity, token),
        IsNew = isNew,
        OnNotice = onNotice,
    };

    public static MirrorSource Source(IStorageBackend storage, string name = "mirror") => new(name, _ => Task.FromResult(storage));

    public static MirrorSource Unreachable(string name = "mirror") =>
        new(name, _ => throw new StorageException(ErrorCodes.StorageConnection, "Nobody answers."));

    public static Task<MirroredBackend> OpenAsync(IStorageBackend storage, MirrorOptions options, params MirrorSource[] mirrors) =>
        MirroredBackend.OpenAsync(storage, null, mirrors, options, TimeProvider.System, CancellationToken.None);

    /// <summary>Storages that all hold repository <paramref name="name"/>.</summary>
    public static async Task IdentifyAsync(string name, params IStorageBackend[] storages)
    {
        foreach (IStorageBackend storage in storages)
        {
            await PutAsync(storage, Identity.Value, name);
        }
    }

    public static async Task<PutOutcome> PutAsync(IStorageBackend storage, string key, string text, CancellationToken cancellationToken = default) =>
        await storage.PutAsync(new StorageKey(key), StorageContent.FromBytes(Encoding.UTF8.GetBytes(text)), cancellationToken);

    public static Task<string> TextAsync(IStorageBackend storage, string key) => TextAsync(storage, new StorageKey(key), CancellationToken.None);

    public static async Task<SortedSet<string>> NamesAsync(IStorageBackend storage, string prefix = "")
    {
        SortedSet<string> names = new(StringComparer.Ordinal);
        await foreach (StoredObject item in storage.ListAsync(prefix, CancellationToken.None))
        {
            names.Add(item.Key.Value);
        }

        return names;
    }

    /// <summary>What a root of a storage lacks there: the segment that it names, or a content that the segment names. Null: nothing.</summary>
    public static async Task<string?> LackingAsync(IStorageBackend storage)
    {
        SortedSet<string> names = await NamesAsync(storage);
        foreach (string root in names.Where(static name => name.StartsWith("s/", StringComparison.Ordinal)))
        {
            foreach (string segment in (await TextAsync(storage, root)).Split(' '))
            {
                if (!names.Contains(segment))
                {
                    return $"{root} needs {segment}";
                }

                foreach (string content in (await TextAsync(storage, segment)).Split(' '))
                {
                    if (!names.Contains(content))
                    {
                        return $"{root} needs {segment}, which names {content}";
                    }
                }
            }
        }

        return null;
    }

    private static async Task<string> TextAsync(IStorageBackend storage, StorageKey key, CancellationToken cancellationToken)
    {
        byte[] bytes = new byte[4096];
        return Encoding.UTF8.GetString(bytes, 0, await storage.ReadAsync(key, 0, bytes, cancellationToken));
    }
}
