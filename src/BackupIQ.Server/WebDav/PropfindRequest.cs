using System.Xml;

namespace BackupIQ.Server.WebDav;

/// <summary>What a PROPFIND asks for.</summary>
internal enum PropfindKind
{
    /// <summary>All properties with their values.</summary>
    All,

    /// <summary>The names of all properties.</summary>
    Names,

    /// <summary>Some, by name.</summary>
    Some,
}

/// <summary>The body of a PROPFIND (RFC 4918, 14.20).</summary>
/// <param name="Kind">What is asked for.</param>
/// <param name="Names">The names of <see cref="PropfindKind.Some"/>.</param>
internal sealed record PropfindRequest(PropfindKind Kind, IReadOnlyList<XmlQualifiedName> Names)
{
    /// <summary>More are not asked for by anybody who means well.</summary>
    private const int MaxNames = 200;

    /// <summary>Reads a body; an empty one asks for all. Null when it is malformed.</summary>
    public static async Task<PropfindRequest?> ReadAsync(Stream body, CancellationToken cancellationToken)
    {
        using MemoryStream bytes = new();
        await body.CopyToAsync(bytes, cancellationToken).ConfigureAwait(false);
        if (bytes.Length == 0)
        {
            return new PropfindRequest(PropfindKind.All, []);
        }

        bytes.Position = 0;
        XmlReaderSettings settings = new() { DtdProcessing = DtdProcessing.Prohibit, XmlResolver = null, CloseInput = false };
        try
        {
            using XmlReader reader = XmlReader.Create(bytes, settings);
            return Read(reader);
        }
        catch (Exception e) when (e is XmlException or ArgumentException)
        {
            // The reader's own change of encoding stumbles over some declarations that are none.
            return null;
        }
    }

    private static PropfindRequest? Read(XmlReader reader)
    {
        if (reader.MoveToContent() != XmlNodeType.Element || reader.NamespaceURI != DavProperties.Namespace || reader.LocalName != "propfind")
        {
            return null;
        }

        PropfindRequest? request = null;
        if (reader.IsEmptyElement)
        {
            return null;
        }

        int depth = reader.Depth;
        while (reader.Read() && reader.Depth > depth)
        {
            if (reader.NodeType != XmlNodeType.Element || reader.Depth != depth + 1 || reader.NamespaceURI != DavProperties.Namespace)
            {
                continue;
            }

            switch (reader.LocalName)
            {
                case "allprop":
                    request ??= new PropfindRequest(PropfindKind.All, []);
                    break;
                case "propname":
                    request ??= new PropfindRequest(PropfindKind.Names, []);
                    break;
                case "prop":
                    request ??= new PropfindRequest(PropfindKind.Some, ReadNames(reader));
                    break;
                default:
                    break;
            }
        }

        // The rest is read, too: what is malformed at its end is malformed.
        while (reader.Read())
        {
        }

        return request;
    }

    private static List<XmlQualifiedName> ReadNames(XmlReader reader)
    {
        List<XmlQualifiedName> names = [];
        if (reader.IsEmptyElement)
        {
            return names;
        }

        int depth = reader.Depth;
        while (reader.Read() && reader.Depth > depth)
        {
            if (reader.NodeType == XmlNodeType.Element && reader.Depth == depth + 1 && names.Count < MaxNames)
            {
                names.Add(new XmlQualifiedName(reader.LocalName, reader.NamespaceURI));
            }
        }

        return names;
    }
}
