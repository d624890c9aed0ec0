using System.Globalization;
using System.Runtime.CompilerServices;
using BackupIQ.Primitives;
using BackupIQ.Repository.Format;
using BackupIQ.Storage;
using BackupIQ.Storage.Remote;
using BackupIQ.Storage.Remote.Azure;
using BackupIQ.Storage.Remote.Gcs;
using BackupIQ.Storage.Remote.GoogleDrive;
using BackupIQ.Storage.Remote.Http;
using BackupIQ.Storage.Remote.Rclone;
using BackupIQ.Storage.Remote.S3;
using BackupIQ.Storage.Remote.WebDav;

namespace BackupIQ.Jobs.Composition;

/// <summary>
/// Chooses the backend of a storage that is not this machine's own. It stands apart so that who works on a local repository loads neither the
/// remote backends nor their SDKs.
/// </summary>
internal static class RemoteStorage
{
    // Their servers are reached by HTTP from here, so that options of the transport are theirs.
    private static readonly string[] OverHttp = ["s3", "azblob", "gs", "gdrive", "webdavs", "webdav"];

    private static readonly string[] Schemes = ["file", "s3", "azblob", "gs", "gdrive", "webdavs", "webdav", "sftp", "icloud", "rclone"];

    // Data packs are most of what is stored and seldom read. Packs, snapshots, logs, keys and configuration are what nothing else can replace: the index is
    // made again from packs, and what sessions say of themselves must be swept, as pieces of a segment that is not finished must.
    private static readonly RemoteLayout Layout = new(
        [RepositoryLayout.DataPackPrefix],
        [
            RepositoryLayout.DataPackPrefix, RepositoryLayout.MetadataPackPrefix, RepositoryLayout.SnapshotPrefix,
            RepositoryLayout.KeyPrefix, RepositoryLayout.ConfigurationPrefix, RepositoryLayout.LogPrefix,
        ],
        RepositoryLayout.LogPieceSuffix);

    /// <summary>Connects to the storage that the URL names, which proves that it is there and may be read.</summary>
    /// <exception cref="BackupIQException"><c>Usage</c>: there is no such kind of storage, or an option is wrong; or it cannot be reached.</exception>
    [MethodImpl(MethodImplOptions.NoInlining)]
    public static Task<IStorageBackend> ConnectAsync(string text, RepositoryOptions use, TimeProvider time, CancellationToken cancellationToken)
    {
        if (RcloneBackend.IsFor(text))
        {
            return RcloneBackend.ConnectAsync(text, time, cancellationToken);
        }

        StorageUrl url = WithDefaults(StorageUrl.Parse(text), use);
        return url.Scheme switch
        {
            "s3" => S3Backend.ConnectAsync(url, Layout, time, cancellationToken),
            "azblob" => AzureBlobBackend.ConnectAsync(url, Layout, time, cancellationToken),
            "gs" => GcsBackend.ConnectAsync(url, Layout, time, cancellationToken),
            "gdrive" => GoogleDriveBackend.ConnectAsync(url, time, cancellationToken),
            "webdavs" or "webdav" => WebDavBackend.ConnectAsync(url, time, cancellationToken),
            _ => throw Unknown(url),
        };
    }

    /// <summary>After how long without a byte a request is given up, where the URL says it.</summary>
    /// <exception cref="BackupIQException"><c>Usage</c>: it is no storage's URL, or no time.</exception>
    [MethodImpl(MethodImplOptions.NoInlining)]
    public static TimeSpan? SilenceOf(string text) =>
        !RcloneBackend.IsFor(text) && StorageUrl.Parse(text) is { } url && OverHttp.Contains(url.Scheme) ? HttpTransport.SilenceOf(url) : null;

    /// <summary>Lets this machine use a storage that asks for a person; the file in which that is kept.</summary>
    /// <exception cref="BackupIQException"><c>Usage</c>: the URL is wrong, or names a storage that asks for nobody; or the sign-in failed.</exception>
    [MethodImpl(MethodImplOptions.NoInlining)]
    public static Task<string> SignInAsync(string text, Action<StorageConsent> tell, TimeProvider time, CancellationToken cancellationToken)
    {
        StorageUrl url = StorageUrl.Parse(text);
        return url.Scheme == "gdrive"
            ? DriveSignIn.RunAsync(url, consent => tell(new StorageConsent(consent.Address, consent.Code, consent.Until)), time, cancellationToken)
            : throw new BackupIQException(ErrorCodes.Usage, $"Nobody signs in to '{url.Scheme}' storage", "Its page under docs/storage says where its credentials come from.");
    }

    /// <summary>What storages share that fail together, as people are told of it: kind and endpoint, or rclone's remote.</summary>
    /// <exception cref="BackupIQException"><c>Usage</c>: it is no storage's URL.</exception>
    public static string ProviderOf(string text)
    {
        if (RcloneBackend.IsFor(text) && !StorageUrl.HasScheme(text))
        {
            // rclone:remote:path; what follows a comma may be anything.
            string[] words = text.Split(':', ',');
            return $"{words[0]} {words[1]}";
        }

        StorageUrl place = StorageUrl.Parse(text);
        return $"{place.Scheme} {place.Text("endpoint") ?? place.Place}";
    }

    private static StorageUrl WithDefaults(StorageUrl url, RepositoryOptions use)
    {
        if (!OverHttp.Contains(url.Scheme))
        {
            return url;
        }

        url = url.WithDefault(HttpTransport.TlsMinimum, use.TlsMinimum);
        return use.StorageTimeout is { } silence
            ? url.WithDefault(HttpTransport.Silence, Math.Ceiling(silence.TotalSeconds).ToString(CultureInfo.InvariantCulture))
            : url;
    }

    private static BackupIQException Unknown(StorageUrl url)
    {
        string near = Suggestion.Nearest(url.Scheme, Schemes) is { } meant ? $"; did you mean '{meant}'?" : "";
        return new BackupIQException(
            ErrorCodes.Usage, $"This version keeps no repositories on '{url.Scheme}' storage{near}", $"Give --repo a path, or a URL that begins with one of: {string.Join(", ", Schemes)}.")
            .With("repo", url.ToString());
    }
}
