using System.Globalization;
using System.Xml;
using BackupIQ.Jobs.Browsing;

namespace BackupIQ.Server.WebDav;

/// <summary>The properties of files and folders (RFC 4918, 15).</summary>
internal static class DavProperties
{
    public const string Namespace = "DAV:";

    private static readonly string[] OfFiles =
        ["displayname", "getcontentlength", "getcontenttype", "getetag", "getlastmodified", "resourcetype", "supportedlock"];

    private static readonly string[] OfFolders = ["displayname", "getlastmodified", "resourcetype", "supportedlock"];

    /// <summary>The names of the properties that an entry has.</summary>
    public static IReadOnlyList<string> NamesOf(ViewEntry entry) => entry.IsFolder ? OfFolders : OfFiles;

    /// <summary>The entity tag of a file: of its content and its time.</summary>
    public static string EntityTag(ViewEntry entry) =>
        string.Create(CultureInfo.InvariantCulture, $"\"{entry.ContentTag}-{entry.Info.ModifiedSeconds:x}{entry.Info.ModifiedNanoseconds:x8}\"");

    /// <summary>Whole seconds, as HTTP tells times.</summary>
    public static DateTimeOffset LastModified(ViewEntry entry) => DateTimeOffset.FromUnixTimeSeconds(entry.Info.Modified.ToUnixTimeSeconds());

    /// <summary>Writes a property with its value; false when the entry has no such property.</summary>
    public static bool TryWrite(XmlWriter writer, ViewEntry entry, XmlQualifiedName name)
    {
        if (name.Namespace != Namespace || !NamesOf(entry).Contains(name.Name, StringComparer.Ordinal))
        {
            return false;
        }

        writer.WriteStartElement("D", name.Name, Namespace);
        switch (name.Name)
        {
            case "displayname":
                writer.WriteString(ViewNames.Spell(entry.Info.Name));
                break;
            case "getcontentlength":
                writer.WriteString(entry.Info.Size.ToString(CultureInfo.InvariantCulture));
                break;
            case "getcontenttype":
                writer.WriteString("application/octet-stream");
                break;
            case "getetag":
                writer.WriteString(EntityTag(entry));
                break;
            case "getlastmodified":
                writer.WriteString(LastModified(entry).ToString("r", CultureInfo.InvariantCulture));
                break;
            case "resourcetype" when entry.IsFolder:
                writer.WriteElementString("D", "collection", Namespace, null);
                break;
            default:
                break;
        }

        writer.WriteEndElement();
        return true;
    }
}
