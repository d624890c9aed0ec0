using System.Globalization;
using System.Xml;
using BackupIQ.Storage.Remote.Http;

namespace BackupIQ.Storage.Remote.Azure;

/// <summary>One page of a listing: XML of the operation List Blobs. It comes from outside, and so do the sizes in it.</summary>
internal static class AzureListing
{
    /// <summary>The most that a page of 5,000 names takes, and twice that.</summary>
    public const int LongestPage = 32 << 20;

    /// <summary>Reads a page.</summary>
    /// <param name="page">Its bytes.</param>
    /// <param name="prefix">What stands before each key in the container.</param>
    /// <exception cref="XmlException">It is none.</exception>
    public static ListingPage Read(ReadOnlyMemory<byte> page, string prefix)
    {
        List<StoredObject> objects = [];
        string? marker = null;
        bool isListing = false;
        try
        {
            using XmlReader xml = ServerXml.Open(page);
            while (xml.Read())
            {
                if (xml.NodeType != XmlNodeType.Element)
                {
                    continue;
                }

                switch (xml.LocalName)
                {
                    case "EnumerationResults":
                        isListing = true;
                        break;
                    case "Blob" when !xml.IsEmptyElement:
                        if (ReadBlob(xml, prefix) is { } found)
                        {
                            objects.Add(found);
                        }

                        break;
                    case "NextMarker" when !xml.IsEmptyElement:
                        marker = xml.ReadElementContentAsString();
                        break;
                }
            }
        }
        catch (Exception e) when (e is not XmlException && ServerXml.IsRefusal(e))
        {
            throw new XmlException("A listing that is no XML.", e);
        }

        return isListing ? new ListingPage(objects, marker is { Length: > 0 } ? marker : null) : throw new XmlException("No listing.");
    }

    private static StoredObject? ReadBlob(XmlReader blob, string prefix)
    {
        string? name = null;
        long? size = null;
        DateTimeOffset? modified = null;
        using XmlReader xml = blob.ReadSubtree();
        xml.Read();
        while (xml.Read())
        {
            while (xml.NodeType == XmlNodeType.Element && !xml.IsEmptyElement && xml.LocalName is "Name" or "Content-Length" or "Last-Modified")
            {
                string element = xml.LocalName;
                string text = xml.ReadElementContentAsString();
                switch (element)
                {
                    case "Name" when name is null:
                        name = text;
                        break;
                    case "Content-Length" when long.TryParse(text, NumberStyles.None, CultureInfo.InvariantCulture, out long length):
                        size = length;
                        break;
                    case "Last-Modified" when DateTimeOffset.TryParseExact(text, "r", CultureInfo.InvariantCulture, DateTimeStyles.AssumeUniversal, out DateTimeOffset time):
                        modified = time;
                        break;
                }
            }
        }

        return name is not null && size is { } bytes && modified is { } at && name.StartsWith(prefix, StringComparison.Ordinal) && StorageKey.TryCreate(name[prefix.Length..], out StorageKey key)
            ? new StoredObject(key, bytes, at)
            : null;
    }
}
