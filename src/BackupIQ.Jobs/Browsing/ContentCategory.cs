using System.Text;

namespace BackupIQ.Jobs.Browsing;

/// <summary>What kind of content a file has, by its name's ending: for statistics, not for decisions.</summary>
internal static class ContentCategory
{
    private static readonly Dictionary<string, string> Endings = Map(
        ("text and source", "txt md rst csv tsv log json xml yaml yml toml ini cfg conf html htm css js ts tsx jsx py rb pl php java cs c h cc cpp hpp rs go swift kt sh sql tex po svg"),
        ("documents", "pdf doc docx xls xlsx ppt pptx odt ods odp rtf epub mobi"),
        ("images", "jpg jpeg png gif webp heic avif tif tiff bmp raw cr2 nef psd ico"),
        ("audio and video", "mp3 ogg opus flac aac m4a wav mp4 mkv webm avi mov mpg mpeg m4v"),
        ("archives", "zip gz tgz bz2 xz zst lz4 7z rar jar whl nupkg deb rpm tar iso"),
        ("databases", "db sqlite sqlite3 mdb dbf ibd frm dump wal parquet"),
        ("programs", "so a o exe dll pyc class bin ko elf wasm"));

    /// <summary>The category of a name, in bytes.</summary>
    public static string Of(ReadOnlySpan<byte> name)
    {
        int dot = name.LastIndexOf((byte)'.');
        return dot > 0 && name.Length - dot <= 9 && Endings.TryGetValue(Encoding.UTF8.GetString(name[(dot + 1)..]).ToLowerInvariant(), out string? category)
            ? category
            : "other";
    }

    private static Dictionary<string, string> Map(params (string Category, string Endings)[] rows) =>
        rows.SelectMany(static row => row.Endings.Split(' '), static (row, ending) => (ending, row.Category)).ToDictionary(static row => row.ending, static row => row.Category, StringComparer.Ordinal);
}
