using BackupIQ.Engine.Reading;

namespace BackupIQ.Jobs.Browsing;

/// <summary>
/// Names for where only text will do, such as URLs. A name that is UTF-8 without control characters is itself; any other byte is spelled
/// <c>%FF</c>, and a percent sign that would be read as such a spelling <c>%25</c>. Every name has a spelling of its own.
/// </summary>
public static class ViewNames
{
    /// <summary>The spelling of a name.</summary>
    public static string Spell(ReadOnlySpan<byte> name) => NameSpelling.Spell(name);

    /// <summary>The name that a text spells.</summary>
    public static byte[] Read(string text) => NameSpelling.Read(text);
}
