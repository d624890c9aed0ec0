using System.Collections.Frozen;

namespace BackupIQ.Repository.Compression;

/// <summary>What a file's name tells of its content.</summary>
public static class ContentTypes
{
    private const int LongestExtension = 8;

    private static readonly FrozenSet<string> CompressedExtensions = FrozenSet.Create(
        StringComparer.Ordinal,
        [
            // Images. Camera raw files are left out: many kinds are not compressed.
            "jpg", "jpeg", "jpe", "jfif", "png", "apng", "gif", "webp", "heic", "heif", "avif", "jxl", "jp2",
            // Sound and film.
            "mp3", "m4a", "m4b", "aac", "ogg", "oga", "opus", "flac", "wma", "ape", "mp4", "m4v", "mkv", "webm", "mov", "avi", "wmv",
            "flv", "mpg", "mpeg", "m2ts", "ogv", "3gp",
            // Archives and packages.
            "zip", "gz", "tgz", "bz2", "tbz2", "xz", "txz", "lzma", "zst", "tzst", "lz4", "lzo", "lz", "br", "7z", "rar", "cab", "z", "sz",
            "jar", "war", "ear", "apk", "aab", "ipa", "nupkg", "snupkg", "whl", "egg", "crate", "gem", "deb", "rpm", "snap", "appimage",
            "xpi", "crx", "vsix", "squashfs", "sqfs", "dmg",
            // Documents that are archives.
            "docx", "xlsx", "pptx", "odt", "ods", "odp", "epub",
            // Fonts, encrypted files.
            "woff", "woff2", "gpg", "pgp", "age",
        ]);

    /// <summary>The hint for a file of this name (its last part, or a whole path; bytes as the file system has them). Allocates nothing.</summary>
    public static ContentHint HintFor(ReadOnlySpan<byte> fileName)
    {
        int dot = fileName.LastIndexOf((byte)'.');
        int length = fileName.Length - dot - 1;
        if (dot < 0 || length is 0 or > LongestExtension)
        {
            return ContentHint.Unknown;
        }

        Span<char> extension = stackalloc char[LongestExtension];
        for (int i = 0; i < length; i++)
        {
            byte c = fileName[dot + 1 + i];
            extension[i] = (char)(c is >= (byte)'A' and <= (byte)'Z' ? c | 0x20 : c);
        }

        return CompressedExtensions.GetAlternateLookup<ReadOnlySpan<char>>().Contains(extension[..length])
            ? ContentHint.Incompressible
            : ContentHint.Unknown;
    }
}
