using System.Net;
using System.Security.Cryptography;
using System.Text;
using System.Text.Json;
using System.Text.Json.Serialization;
using BackupIQ.Primitives;
using BackupIQ.Repository.Format;

namespace BackupIQ.Repository.Keys;

/// <summary>What a kit carries beside its secret: its slot, and the configuration as it was when the kit was made.</summary>
internal sealed record RecoveryKitBlock
{
    public required int Format { get; init; }

    public required string SlotId { get; init; }

    /// <summary>The slot object's bytes.</summary>
    public required byte[] Slot { get; init; }

    public required ConfigurationHead Configuration { get; init; }

    public required ConfigurationSettings Settings { get; init; }

    [JsonExtensionData]
    public Dictionary<string, JsonElement>? Unknown { get; set; }
}

/// <summary>
/// A recovery kit as it was read: the secret, and the block where it was whole. The secret alone (typed from paper, or read by a QR
/// reader) opens a repository whose keys are there; with the block it opens one whose keys/ and configuration are gone.
/// </summary>
public sealed class RecoveryKit : IDisposable
{
    /// <summary>The largest kit that is read, in characters.</summary>
    public const int MaxLength = 256 << 10;

    private const string Begin = "-----BEGIN BACKUPIQ RECOVERY KIT-----";
    private const string End = "-----END BACKUPIQ RECOVERY KIT-----";
    private const string QrPrefix = "BACKUPIQ-KIT:1:";
    private const string CodeMark = "\0";

    private RecoveryKit(Secret secret, RecoveryKitBlock? block, string? problem)
    {
        Secret = secret;
        Block = block;
        BlockProblem = problem;
    }

    /// <summary>What is wrong with the block, or null. The secret may open the repository nonetheless.</summary>
    public string? BlockProblem { get; }

    /// <summary>The repository whose kit this is, where the block tells.</summary>
    public RepositoryId? Repository =>
        Block is not null && RepositoryId.TryParse(Block.Configuration.Repository, out RepositoryId id) ? id : null;

    internal Secret Secret { get; }

    internal RecoveryKitBlock? Block { get; }

    /// <summary>Reads a kit, or only its four lines, or only what a QR reader gave. Everything else in the text is for people.</summary>
    /// <exception cref="BackupIQException"><c>SecretUnavailable</c>: no secret is in it, or a line has a typing error (it is named).</exception>
    public static RecoveryKit Parse(string text)
    {
        if (text.Length > MaxLength)
        {
            throw new BackupIQException(ErrorCodes.SecretUnavailable, "The recovery kit is too large to be one.");
        }

        byte[] secret = GC.AllocateArray<byte>(KitSecretText.SecretSize, pinned: true);
        try
        {
            ReadSecret(text, secret);
            RecoveryKitBlock? block = ReadBlock(text, out string? problem);
            return new RecoveryKit(new Secret(secret), block, problem);
        }
        finally
        {
            CryptographicOperations.ZeroMemory(secret);
        }
    }

    /// <summary>Writes a kit as text, or as a page for a browser to print. It holds the secret: whoever stores it makes the file 0600.</summary>
    internal static string Compose(
        ReadOnlySpan<byte> secret, string slotId, byte[] slot, RepositoryConfiguration configuration, string location, DateTimeOffset made, bool asPage = false)
    {
        RecoveryKitBlock block = new()
        {
            Format = 1,
            SlotId = slotId,
            Slot = slot,
            Configuration = configuration.Head,
            Settings = configuration.Settings,
        };
        StringBuilder text = new();
        text.Append($"""
            BackupIQ recovery kit
            =====================

            With this sheet the backups in the repository below can be read when every
            password and key file is lost, and even when the repository's own keys and
            configuration are gone. It is as good as a password: WHOEVER HAS IT CAN READ
            EVERYTHING. Print it, put it where you keep deeds and passports, and do not
            leave a copy beside the backups or on the machines that are backed up.

            Repository  {configuration.Id}
            Label       {(configuration.Label.Length == 0 ? "-" : configuration.Label)}
            Place       {location}
            Made        {made.UtcDateTime:yyyy-MM-dd HH:mm} UTC
            Key slot    {slotId}

            The secret. Upper or lower case, O is 0, I and L are 1. The last two characters
            of a line check it, so a typing error is found and its line is named.


            """.ReplaceLineEndings("\n"));
        string whole = "";
        for (int line = 1; line <= KitSecretText.Lines; line++)
        {
            string characters = KitSecretText.Line(secret, line);
            whole += characters;
            text.Append($"    {line}: {characters.AsSpan(0, 5)}-{characters.AsSpan(5, 5)}-{characters.AsSpan(10, 5)}\n");
        }

        text.Append($"""

            To use it, with this file or a file with only those four lines:

                backupiq snapshots --repo PLACE --recovery-kit FILE
                backupiq key add --repo PLACE --recovery-kit FILE

            The same secret in words, to be read aloud or written down; these four lines do
            as well as the four above. The last word of a line checks it.


            """.ReplaceLineEndings("\n"));
        for (int line = 1; line <= KitSecretText.Lines; line++)
        {
            text.Append($"    {line}: {KitSecretText.Words(secret, line)}\n");
        }

        text.Append("""

            The same secret for a camera:


            """.ReplaceLineEndings("\n"));
        bool[,] code = QrCode.Encode(Encoding.ASCII.GetBytes(QrPrefix + whole));
        text.Append(asPage ? CodeMark : QrCode.Render(code));
        text.Append("""

            The block below is needed when the repository's keys and configuration are gone.
            It is of no use without the secret.


            """.ReplaceLineEndings("\n"));
        byte[] json = JsonSerializer.SerializeToUtf8Bytes(block, KeyJson.Default.RecoveryKitBlock);
        string base64 = Convert.ToBase64String([.. json, .. SHA256.HashData(json)]);
        text.Append(Begin).Append('\n');
        foreach (char[] row in base64.Chunk(76))
        {
            text.Append(row).Append('\n');
        }

        text.Append(End).Append('\n');
        return asPage ? Page(text.ToString(), code, configuration.Id) : text.ToString();
    }

    /// <inheritdoc/>
    public override string ToString() => "***";

    /// <inheritdoc/>
    public void Dispose() => Secret.Dispose();

    // The text as it is, escaped, with the code as a drawing; what programs read of it stands on lines of its own still.
    private static string Page(string text, bool[,] code, RepositoryId repository)
    {
        string[] parts = text.Split(CodeMark);
        int block = parts[1].IndexOf(Begin, StringComparison.Ordinal);
        return $$"""
            <!DOCTYPE html>
            <html lang="en">
            <head>
            <meta charset="utf-8">
            <title>BackupIQ recovery kit {{repository}}</title>
            <style>
            @page { size: A4; margin: 14mm }
            body { background: #fff; color: #000; max-width: 182mm; margin: 0 auto }
            pre { font: 9.5pt/1.3 "DejaVu Sans Mono", Consolas, monospace; white-space: pre; margin: 0 }
            pre.block { font-size: 6.5pt }
            svg { display: block; width: 52mm; height: 52mm; margin: 2mm 0 4mm 8mm; break-inside: avoid }
            </style>
            </head>
            <body>
            <pre>
            {{WebUtility.HtmlEncode(parts[0])}}</pre>
            {{QrCode.Draw(code)}}
            <pre>
            {{WebUtility.HtmlEncode(parts[1][..block])}}</pre>
            <pre class="block">
            {{parts[1][block..]}}</pre>
            </body>
            </html>

            """.ReplaceLineEndings("\n");
    }

    private static void ReadSecret(string text, Span<byte> secret)
    {
        Span<char> characters = stackalloc char[KitSecretText.LineLength];
        Span<char> letters = stackalloc char[KitSecretText.WordsLength];
        int found = 0;
        int mistyped = 0;
        foreach (ReadOnlySpan<char> raw in text.AsSpan().EnumerateLines())
        {
            ReadOnlySpan<char> row = raw.Trim();
            if (row.StartsWith(QrPrefix, StringComparison.OrdinalIgnoreCase)
                && row.Length == QrPrefix.Length + (KitSecretText.Lines * KitSecretText.LineLength))
            {
                for (int line = 1; line <= KitSecretText.Lines; line++)
                {
                    Take(row.Slice(QrPrefix.Length + ((line - 1) * KitSecretText.LineLength), KitSecretText.LineLength), line, secret);
                }
            }
            else if (row.Length > 2 && row[0] is >= '1' and <= '4' && row[1] is ':' or '.' or ')')
            {
                if (Compact(row[2..], characters))
                {
                    Take(characters, row[0] - '0', secret);
                }
                else if (Compact(row[2..], letters))
                {
                    Take(letters, row[0] - '0', secret);
                }
            }
        }

        if (mistyped != 0)
        {
            throw new BackupIQException(
                ErrorCodes.SecretUnavailable,
                $"Line {mistyped} of the recovery kit's secret has a typing error.",
                "Compare it with the sheet, character by character.");
        }

        if (found != (1 << KitSecretText.Lines) - 1)
        {
            throw new BackupIQException(
                ErrorCodes.SecretUnavailable,
                "The four lines of the recovery kit's secret are not all there.",
                "They look like '1: XXXXX-XXXXX-XXXXX' or '1: lusab babad gutih tugad mudof', then '2: …', '3: …', '4: …', each on a line of its own.");
        }

        void Take(ReadOnlySpan<char> line, int number, Span<byte> into)
        {
            if (line.Length == KitSecretText.WordsLength ? KitSecretText.TryReadWords(line, number, into) : KitSecretText.TryReadLine(line, number, into))
            {
                found |= 1 << (number - 1);
            }
            else if (mistyped == 0)
            {
                mistyped = number;
            }
        }
    }

    // Without separators; false when it cannot be a line of the secret at all (prose that happens to begin with a number).
    private static bool Compact(ReadOnlySpan<char> row, Span<char> characters)
    {
        int length = 0;
        foreach (char c in row)
        {
            if (c is ' ' or '-' or '\t')
            {
                continue;
            }

            if (!char.IsAsciiLetterOrDigit(c) || length == characters.Length)
            {
                return false;
            }

            characters[length++] = c;
        }

        // A line that is a little short is a typing error too; taken as one, it is named.
        characters[length..].Fill('?');
        return length >= characters.Length - 3;
    }

    private static RecoveryKitBlock? ReadBlock(string text, out string? problem)
    {
        int begin = text.IndexOf(Begin, StringComparison.Ordinal);
        int end = begin < 0 ? -1 : text.IndexOf(End, begin, StringComparison.Ordinal);
        if (end < 0)
        {
            problem = "the block is not there";
            return null;
        }

        var bytes = new byte[end - begin];
        if (!Convert.TryFromBase64Chars(text.AsSpan(begin + Begin.Length, end - begin - Begin.Length), bytes, out int length)
            || length < SHA256.HashSizeInBytes)
        {
            problem = "the block is not base64";
            return null;
        }

        ReadOnlySpan<byte> json = bytes.AsSpan(0, length - SHA256.HashSizeInBytes);
        if (!SHA256.HashData(json).AsSpan().SequenceEqual(bytes.AsSpan(json.Length, SHA256.HashSizeInBytes)))
        {
            problem = "the block's checksum is wrong";
            return null;
        }

        try
        {
            RecoveryKitBlock? block = JsonSerializer.Deserialize(json, KeyJson.Default.RecoveryKitBlock);
            problem = block switch
            {
                null => "the block is empty",
                { Format: not 1 } => $"the block's format is {block.Format}, which this version does not know",
                _ when block.Configuration.Kdf.Problem() is { } refused => refused,
                _ when !ConfigurationObject.IsValid(block.Settings) => "the block's settings are out of range",
                _ => null,
            };
            return problem is null ? block : null;
        }
        catch (JsonException)
        {
            problem = "the block is not a kit's";
            return null;
        }
    }
}
