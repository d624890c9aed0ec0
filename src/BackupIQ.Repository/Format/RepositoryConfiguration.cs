using System.Text.Json;
using System.Text.Json.Serialization;
using BackupIQ.Primitives;
using BackupIQ.Repository.Crypto;
using BackupIQ.Repository.Keys;

namespace BackupIQ.Repository.Format;

/// <summary>How content is cut into chunks. Part of the repository: other sizes find no common chunks.</summary>
/// <param name="Profile">The profile's name.</param>
/// <param name="Minimum">Least bytes of a chunk, but for a file's last.</param>
/// <param name="Average">Bytes aimed at.</param>
/// <param name="Maximum">Most bytes of a chunk.</param>
public sealed record ChunkerSettings(string Profile, int Minimum, int Average, int Maximum)
{
    /// <summary>256 KiB, 1 MiB, 4 MiB: chunks large enough that a million files stay a small index, small enough that an edit costs little.</summary>
    public static ChunkerSettings General { get; } = new("general", 256 << 10, 1 << 20, 4 << 20);

    internal bool IsValid =>
        Profile is { Length: > 0 and <= 64 } && Minimum >= 64 && Minimum <= Average && Average <= Maximum && Maximum <= 64 << 20;
}

/// <summary>What a program wants to do with a repository; a newer version may forbid one and allow the others.</summary>
public enum RepositoryOperation
{
    /// <summary>List, restore, mount.</summary>
    Read,

    /// <summary>Back up, copy into.</summary>
    Write,

    /// <summary>Forget, prune, repair.</summary>
    Delete,

    /// <summary>Check.</summary>
    Check,
}

/// <summary>The features that a program must know, by what it wants to do.</summary>
internal sealed record FeatureFlags
{
    /// <summary>Key epochs were begun: masters stand in epoch objects too, without which newer objects do not open.</summary>
    public const string Epochs = "epochs";

    public static FeatureFlags None { get; } = new() { Read = [], Write = [], Delete = [], Check = [] };

    public required IReadOnlyList<string> Read { get; init; }

    public required IReadOnlyList<string> Write { get; init; }

    public required IReadOnlyList<string> Delete { get; init; }

    public required IReadOnlyList<string> Check { get; init; }

    [JsonExtensionData]
    public Dictionary<string, JsonElement>? Unknown { get; set; }

    public IReadOnlyList<string> Of(RepositoryOperation operation) => operation switch
    {
        RepositoryOperation.Read => Read,
        RepositoryOperation.Write => Write,
        RepositoryOperation.Delete => Delete,
        _ => Check,
    };
}

/// <summary>The part of the configuration in clear: what must be known before a key is at hand. The seal of the other part covers it.</summary>
internal sealed record ConfigurationHead
{
    /// <summary>The format that this version reads and writes.</summary>
    public const int CurrentFormat = 1;

    public required int Format { get; init; }

    public required string Repository { get; init; }

    public required int Generation { get; init; }

    /// <summary>The least format that a reader must know.</summary>
    public required int MinReader { get; init; }

    /// <summary>The least format that a writer must know.</summary>
    public required int MinWriter { get; init; }

    public required FeatureFlags Features { get; init; }

    public required KdfParameters Kdf { get; init; }

    [JsonExtensionData]
    public Dictionary<string, JsonElement>? Unknown { get; set; }
}

/// <summary>The sealed part of the configuration.</summary>
internal sealed record ConfigurationSettings
{
    public required DateTimeOffset Created { get; init; }

    public required string Label { get; init; }

    public required ChunkerSettings Chunker { get; init; }

    public required long PackSize { get; init; }

    public required string Compression { get; init; }

    /// <summary>Clients only add unless they are told that they maintain the repository. Absent: false.</summary>
    public bool? AppendOnly { get; init; }

    /// <summary>Commit and fence are puts on one name.</summary>
    public const string CommitByName = "name";

    /// <summary>A snapshot counts once it is confirmed.</summary>
    public const string CommitByConfirmation = "confirmation";

    /// <summary>How snapshots are committed, whatever the storage of a client can do. Absent: as that can.</summary>
    public string? Commit { get; init; }

    [JsonExtensionData]
    public Dictionary<string, JsonElement>? Unknown { get; set; }
}

/// <summary>A generation of the repository's configuration. Immutable: a change is a new generation, and the highest that is whole counts.</summary>
public sealed record RepositoryConfiguration
{
    internal RepositoryConfiguration(RepositoryId id, ConfigurationHead head, ConfigurationSettings settings)
    {
        Id = id;
        Head = head;
        Settings = settings;
    }

    /// <summary>The repository.</summary>
    public RepositoryId Id { get; }

    /// <summary>Which generation this is, from 1.</summary>
    public int Generation => Head.Generation;

    /// <summary>When the repository was made.</summary>
    public DateTimeOffset Created => Settings.Created;

    /// <summary>What its owner calls it; may be empty.</summary>
    public string Label => Settings.Label;

    /// <summary>How content is cut.</summary>
    public ChunkerSettings Chunker => Settings.Chunker;

    /// <summary>Bytes of a pack to aim at, at first; packs grow with the repository.</summary>
    public long PackSize => Settings.PackSize;

    /// <summary>The compression where none is asked for, as in <c>--compression</c>.</summary>
    public string Compression => Settings.Compression;

    /// <summary>Whether clients only add unless they are told that they maintain the repository.</summary>
    public bool AppendOnly => Settings.AppendOnly ?? false;

    /// <summary>Whether commit and fence are puts on one name; null: the repository does not say.</summary>
    public bool? CommitsByName => Settings.Commit is null ? null : Settings.Commit == ConfigurationSettings.CommitByName;

    internal ConfigurationHead Head { get; init; }

    /// <summary>The epoch that was begun without the key in use, if one was: then only reading is left.</summary>
    internal ushort? OutdatedBy { get; init; }

    /// <summary>The repository's clients commit by conditional puts, which the storage does not have as it is reached here: then only reading is left.</summary>
    internal bool CannotCommit { get; init; }

    internal ConfigurationSettings Settings { get; init; }

    /// <summary>Refuses what only a newer version may do with this repository.</summary>
    /// <exception cref="BackupIQException">
    /// <c>UnsupportedFormat</c>, saying which format or feature is asked for. <c>KeyOutdated</c>: the key in use may only read.
    /// </exception>
    public void Require(RepositoryOperation operation)
    {
        Require(Head, operation);
        if (OutdatedBy is { } epoch && operation != RepositoryOperation.Read)
        {
            throw RepositoryKeys.Outdated(epoch);
        }

        if (Settings.Commit is not (null or ConfigurationSettings.CommitByName or ConfigurationSettings.CommitByConfirmation))
        {
            throw new BackupIQException(
                ErrorCodes.UnsupportedFormat, $"To {operation.ToString().ToLowerInvariant()} this repository needs a BackupIQ that knows '{Shown(Settings.Commit)}'.");
        }

        if (CannotCommit && operation is (RepositoryOperation.Write or RepositoryOperation.Delete))
        {
            throw new BackupIQException(
                ErrorCodes.Configuration,
                "The repository's clients commit by conditional puts, which its storage does not have as it is reached here; it can only be read",
                "Reach it as its other clients do. To move it here for good, make a repository here and 'backupiq copy' into it.");
        }
    }

    internal static void Require(ConfigurationHead head, RepositoryOperation operation)
    {
        int needed = operation is RepositoryOperation.Write or RepositoryOperation.Delete ? Math.Max(head.MinReader, head.MinWriter) : head.MinReader;
        if (needed > ConfigurationHead.CurrentFormat)
        {
            throw new BackupIQException(
                ErrorCodes.UnsupportedFormat,
                $"To {operation.ToString().ToLowerInvariant()} this repository needs a BackupIQ that knows format {needed}; this one knows {ConfigurationHead.CurrentFormat}.");
        }

        if (head.Features.Of(operation).Where(static feature => feature != FeatureFlags.Epochs).ToArray() is [var feature, ..])
        {
            throw new BackupIQException(
                ErrorCodes.UnsupportedFormat,
                $"To {operation.ToString().ToLowerInvariant()} this repository needs a BackupIQ that knows '{Shown(feature)}'.");
        }
    }

    // The name comes from the storage, so control characters must not reach a terminal.
    private static string Shown(string? feature) =>
        string.Concat((feature ?? "").Where(c => char.IsAsciiLetterOrDigit(c) || c is '-' or '_' or '.').Take(40));
}
