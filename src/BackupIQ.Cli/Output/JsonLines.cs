using System.Buffers;
using System.Text;
using System.Text.Encodings.Web;
using System.Text.Json;
using BackupIQ.Cli.Parsing;

namespace BackupIQ.Cli.Output;

/// <summary>
/// Writes JSON to standard output: documents, or one object a line, each line flushed when complete; of many rows some at a time. Safe for
/// any thread.
/// </summary>
internal sealed class JsonLines(Stream output)
{
    /// <summary>So many bytes are gathered before they are shown.</summary>
    public const int RowBuffer = 64 << 10;

    /// <summary>Letters of any script stay as they are; control characters are escaped.</summary>
    public static readonly JsonWriterOptions WriterOptions = new() { Encoder = JavaScriptEncoder.UnsafeRelaxedJsonEscaping };

    private readonly Lock _gate = new();
    private readonly ArrayBufferWriter<byte> _rows = new();
    private Utf8JsonWriter? _rowWriter;

    /// <summary>Writes one of many objects with <c>message_type</c> first; it is seen once some are together, or with the next line.</summary>
    public void Row<T>(string messageType, T value, Action<Utf8JsonWriter, T> fields)
    {
        lock (_gate)
        {
            _rowWriter ??= new Utf8JsonWriter(_rows, WriterOptions);
            _rowWriter.WriteStartObject();
            _rowWriter.WriteString("message_type", messageType);
            fields(_rowWriter, value);
            _rowWriter.WriteEndObject();
            _rowWriter.Flush();
            _rowWriter.Reset();
            _rows.Write("\n"u8);
            if (_rows.WrittenCount >= RowBuffer)
            {
                Flush();
            }
        }
    }

    /// <summary>Shows the rows that are together.</summary>
    public void Flush()
    {
        lock (_gate)
        {
            output.Write(_rows.WrittenSpan);
            output.Flush();
            _rows.ResetWrittenCount();
        }
    }

    /// <summary>Writes one object with <c>message_type</c> first.</summary>
    public void Line(string messageType, Action<Utf8JsonWriter> fields) => Document(writer =>
    {
        writer.WriteStartObject();
        writer.WriteString("message_type", messageType);
        fields(writer);
        writer.WriteEndObject();
    });

    /// <summary>Writes one document, in one line.</summary>
    public void Document(Action<Utf8JsonWriter> write)
    {
        byte[] bytes = Bytes(write);
        lock (_gate)
        {
            _rows.Write(bytes);
            Flush();
        }
    }

    /// <summary>
    /// Writes one large document, in one line, while it comes about: whoever writes it flushes now and then. Nothing else may be written
    /// meanwhile.
    /// </summary>
    public void Stream(Action<Utf8JsonWriter> write)
    {
        lock (_gate)
        {
            Flush();
            using (Utf8JsonWriter writer = new(output, WriterOptions))
            {
                write(writer);
            }

            output.Write("\n"u8);
            output.Flush();
        }
    }

    /// <summary>The bytes of a document, with the end of its line.</summary>
    public static byte[] Bytes(Action<Utf8JsonWriter> write)
    {
        using MemoryStream buffer = new();
        using (Utf8JsonWriter writer = new(buffer, WriterOptions))
        {
            write(writer);
        }

        buffer.WriteByte((byte)'\n');
        return buffer.ToArray();
    }
}

/// <summary>JSON of names that are bytes.</summary>
internal static class JsonNames
{
    /// <summary>
    /// Writes a name as text, what is not UTF-8 in it replaced; then the bytes themselves follow as <c>NAME_raw</c>, in base64.
    /// </summary>
    public static void WriteName(this Utf8JsonWriter writer, string property, ReadOnlySpan<byte> name)
    {
        writer.WriteString(property, Encoding.UTF8.GetString(name));
        if (!System.Text.Unicode.Utf8.IsValid(name))
        {
            writer.WriteBase64String(property + "_raw", name);
        }
    }

    /// <summary>As <see cref="WriteName(Utf8JsonWriter, string, ReadOnlySpan{byte})"/>, for text that <see cref="OsText"/> made.</summary>
    public static void WriteName(this Utf8JsonWriter writer, string property, string name) => writer.WriteName(property, OsText.Encode(name));
}
