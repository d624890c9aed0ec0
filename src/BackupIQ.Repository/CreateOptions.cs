using BackupIQ.Primitives;
using BackupIQ.Repository.Format;
using BackupIQ.Repository.Keys;
using BackupIQ.Repository.Keys.Services;

namespace BackupIQ.Repository;

/// <summary>How to make a repository. At least a password, a key file or a key service; the secrets stay the caller's.</summary>
public sealed record CreateOptions
{
    /// <summary>The most characters of a label.</summary>
    public const int MaxLabelLength = 200;

    /// <summary>A password that opens it.</summary>
    public Secret? Password { get; init; }

    /// <summary>The content of a key file that opens it.</summary>
    public Secret? KeyFile { get; init; }

    /// <summary>A key of a key service that opens it.</summary>
    public IKeyProvider? KeyProvider { get; init; }

    /// <summary>What its owner calls it.</summary>
    public string Label { get; init; } = "";

    /// <summary>A recovery kit unless it is declined: a lost password is the commonest way to lose a backup.</summary>
    public bool RecoveryKit { get; init; } = true;

    /// <summary>How content is cut, unless <see cref="ChunkerFrom"/> says.</summary>
    public ChunkerSettings Chunker { get; init; } = ChunkerSettings.General;

    /// <summary>An opened repository whose cuts the new one is to make too, so that copies between them find the same chunks.</summary>
    public BackupRepository? ChunkerFrom { get; init; }

    /// <summary>32 MiB: few enough objects for a storage that bills by the request, small enough to move in one piece.</summary>
    public long PackSize { get; init; } = 32 << 20;

    /// <summary>The compression where none is asked for.</summary>
    public string Compression { get; init; } = "auto";

    /// <summary>Clients only add unless they are told that they maintain the repository.</summary>
    public bool AppendOnly { get; init; }

    /// <summary>PBKDF2-SHA512 in place of scrypt, for where only approved derivations are allowed.</summary>
    public bool UsePbkdf2 { get; init; }

    /// <summary>Parameters of their own, for tests that make many repositories.</summary>
    internal KdfParameters? Kdf { get; init; }
}

/// <summary>A repository just made.</summary>
/// <param name="Repository">Open; the caller disposes it.</param>
/// <param name="RecoveryKit">The kit's text, or null. It holds a secret: store it 0600.</param>
public sealed record CreatedRepository(BackupRepository Repository, string? RecoveryKit);
