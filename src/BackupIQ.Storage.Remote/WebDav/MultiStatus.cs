using System.Globalization;
using System.Xml;
using BackupIQ.Storage.Remote.Http;

namespace BackupIQ.Storage.Remote.WebDav;

/// <summary>What a server says of one resource.</summary>
/// <param name="Path">The path of its address as the server wrote it, still escaped.</param>
/// <param name="IsFolder">Whether it is a collection.</param>
/// <param name="Size">Its bytes; null where that is not said.</param>
/// <param name="Modified">When it changed, by the server's clock; null where that is not said.</param>
/// <param name="Available">Bytes that may still be stored in it; null where that is not said.</param>
/// <param name="Used">Bytes that it takes of the quota; null where that is not said.</param>
internal sealed record DavResource(string Path, bool IsFolder, long? Size, DateTimeOffset? Modified, long? Available, long? Used);

/// <summary>
/// The answer to a PROPFIND (RFC 4918, 14.16). It comes from outside: no DTD, no entities, nothing is fetched, and what does not have the
/// form is refused.
/// </summary>
internal static class MultiStatus
{
    private const string Namespace = "DAV:";

    /// <summary>Reads an answer; null when it is none.</summary>
    public static IReadOnlyList<DavResource>? Parse(ReadOnlyMemory<byte> body)
    {
        try
        {
            using XmlReader reader = ServerXml.Open(body);
            return Read(reader);
        }
        catch (Exception e) when (ServerXml.IsRefusal(e))
        {
            return null;
        }
    }

    private static List<DavResource>? Read(XmlReader reader)
    {
        if (reader.MoveToContent() != XmlNodeType.Element || !Is(reader, "multistatus"))
        {
            return null;
        }

        List<DavResource> found = [];
        if (reader.IsEmptyElement)
        {
            return found;
        }

        int depth = reader.Depth;
        while (reader.Read() && reader.Depth > depth)
        {
            if (IsElementAt(reader, depth + 1) && Is(reader, "response") && !reader.IsEmptyElement && ReadResponse(reader) is { } resource)
            {
                found.Add(resource);
            }
        }

        return found;
    }

    private static DavResource? ReadResponse(XmlReader reader)
    {
        string? path = null;
        bool isGone = false;
        Properties known = new();
        int depth = reader.Depth;
        while (reader.Read() && reader.Depth > depth)
        {
            if (!IsElementAt(reader, depth + 1) || reader.IsEmptyElement)
            {
                continue;
            }

            if (Is(reader, "href"))
            {
                path ??= PathOf(Text(reader));
            }
            else if (Is(reader, "status"))
            {
                isGone = !IsSuccess(Text(reader));
            }
            else if (Is(reader, "propstat") && ReadPropstat(reader) is { } properties)
            {
                known = known.And(properties);
            }
        }

        return path is null || isGone ? null : new DavResource(path, known.IsFolder, known.Size, known.Modified, known.Available, known.Used);
    }

    // Properties count only under a status that says that they are there; it stands behind them.
    private static Properties? ReadPropstat(XmlReader reader)
    {
        Properties properties = new();
        bool isThere = false;
        int depth = reader.Depth;
        while (reader.Read() && reader.Depth > depth)
        {
            if (!IsElementAt(reader, depth + 1) || reader.IsEmptyElement)
            {
                continue;
            }

            if (Is(reader, "status"))
            {
                isThere = IsSuccess(Text(reader));
            }
            else if (Is(reader, "prop"))
            {
                properties = ReadProperties(reader);
            }
        }

        return isThere ? properties : null;
    }

    private static Properties ReadProperties(XmlReader reader)
    {
        Properties properties = new();
        int depth = reader.Depth;
        while (reader.Read() && reader.Depth > depth)
        {
            if (!IsElementAt(reader, depth + 1) || reader.IsEmptyElement || reader.NamespaceURI != Namespace)
            {
                continue;
            }

            switch (reader.LocalName)
            {
                case "resourcetype":
                    properties = properties with { IsFolder = HasCollection(reader) };
                    break;
                case "getcontentlength":
                    properties = properties with { Size = Number(Text(reader)) };
                    break;
                case "getlastmodified":
                    properties = properties with { Modified = Time(Text(reader)) };
                    break;
                case "quota-available-bytes":
                    properties = properties with { Available = Number(Text(reader)) };
                    break;
                case "quota-used-bytes":
                    properties = properties with { Used = Number(Text(reader)) };
                    break;
            }
        }

        return properties;
    }

    private static bool HasCollection(XmlReader reader)
    {
        bool found = false;
        int depth = reader.Depth;
        while (reader.Read() && reader.Depth > depth)
        {
            found |= IsElementAt(reader, depth + 1) && Is(reader, "collection");
        }

        return found;
    }

    // Leaves the reader on the element's end, as the loops expect.
    private static string Text(XmlReader reader)
    {
        System.Text.StringBuilder text = new();
        int depth = reader.Depth;
        while (reader.Read() && reader.Depth > depth)
        {
            if (reader.NodeType is XmlNodeType.Text or XmlNodeType.CDATA)
            {
                text.Append(reader.Value);
            }
        }

        return text.ToString().Trim();
    }

    private static string? PathOf(string address)
    {
        if (address.StartsWith('/'))
        {
            int end = address.IndexOfAny(['?', '#']);
            return end < 0 ? address : address[..end];
        }

        return Uri.TryCreate(address, UriKind.Absolute, out Uri? absolute) ? absolute.AbsolutePath : null;
    }

    private static bool IsSuccess(string status) =>
        status.Split(' ', 3) is [_, { Length: 3 } code, ..] && code[0] == '2';

    private static long? Number(string text) =>
        long.TryParse(text, NumberStyles.None, CultureInfo.InvariantCulture, out long number) ? number : null;

    private static DateTimeOffset? Time(string text) =>
        DateTimeOffset.TryParse(text, CultureInfo.InvariantCulture, DateTimeStyles.AssumeUniversal | DateTimeStyles.AdjustToUniversal, out DateTimeOffset time) ? time : null;

    private static bool Is(XmlReader reader, string name) => reader.LocalName == name && reader.NamespaceURI == Namespace;

    private static bool IsElementAt(XmlReader reader, int depth) => reader.NodeType == XmlNodeType.Element && reader.Depth == depth;

    private sealed record Properties
    {
        public bool IsFolder { get; init; }

        public long? Size { get; init; }

        public DateTimeOffset? Modified { get; init; }

        public long? Available { get; init; }

        public long? Used { get; init; }

        public Properties And(Properties other) => new()
        {
            IsFolder = IsFolder || other.IsFolder,
            Size = Size ?? other.Size,
            Modified = Modified ?? other.Modified,
            Available = Available ?? other.Available,
            Used = Used ?? other.Used,
        };
    }
}
