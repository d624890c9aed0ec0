using System.Runtime.InteropServices;
using System.Xml;

namespace BackupIQ.Storage.Remote.Http;

/// <summary>XML that comes from a server: no DTD, no entities, nothing is fetched.</summary>
internal static class ServerXml
{
    private static readonly XmlReaderSettings Settings = new()
    {
        DtdProcessing = DtdProcessing.Prohibit,
        XmlResolver = null,
        IgnoreComments = true,
        IgnoreProcessingInstructions = true,
        CloseInput = true,
    };

    /// <summary>Opens an answer, whose bytes are read where they are.</summary>
    /// <remarks>
    /// Beside <see cref="XmlException"/> the reader ends with <see cref="ArgumentException"/> or <see cref="InvalidOperationException"/> over
    /// declarations that are none: <see cref="IsRefusal"/>.
    /// </remarks>
    public static XmlReader Open(ReadOnlyMemory<byte> body) => XmlReader.Create(
        MemoryMarshal.TryGetArray(body, out ArraySegment<byte> bytes) ? new MemoryStream(bytes.Array!, bytes.Offset, bytes.Count, writable: false) : new MemoryStream(body.ToArray(), writable: false),
        Settings);

    /// <summary>Whether a failure says that the answer is no XML.</summary>
    public static bool IsRefusal(Exception failure) => failure is XmlException or ArgumentException or InvalidOperationException;
}
