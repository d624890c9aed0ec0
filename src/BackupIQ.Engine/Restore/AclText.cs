using System.Buffers.Binary;
using System.Globalization;
using System.Text;

namespace BackupIQ.Engine.Restore;

/// <summary>POSIX ACLs as text: <c>user::rw-,user:1000:rw-,group::r--,mask::rw-,other::r--</c>, with numbers for names.</summary>
internal static class AclText
{
    private const int EntrySize = 8;

    /// <summary>Writes the bytes of an ACL's attribute (version 2, then tag, permissions and id of each entry) as text; false when they are none.</summary>
    public static bool TryWrite(ReadOnlySpan<byte> acl, out string text)
    {
        text = "";
        if (acl.Length < 4 || BinaryPrimitives.ReadUInt32LittleEndian(acl) != 2 || (acl.Length - 4) % EntrySize != 0)
        {
            return false;
        }

        StringBuilder entries = new();
        for (ReadOnlySpan<byte> rest = acl[4..]; !rest.IsEmpty; rest = rest[EntrySize..])
        {
            ushort permissions = BinaryPrimitives.ReadUInt16LittleEndian(rest[2..]);
            uint id = BinaryPrimitives.ReadUInt32LittleEndian(rest[4..]);
            string? who = BinaryPrimitives.ReadUInt16LittleEndian(rest) switch
            {
                0x01 => "user:",
                0x02 => string.Create(CultureInfo.InvariantCulture, $"user:{id}"),
                0x04 => "group:",
                0x08 => string.Create(CultureInfo.InvariantCulture, $"group:{id}"),
                0x10 => "mask:",
                0x20 => "other:",
                _ => null,
            };
            if (who is null)
            {
                return false;
            }

            entries.Append(entries.Length > 0 ? "," : "").Append(who).Append(':');
            entries.Append((permissions & 4) != 0 ? 'r' : '-').Append((permissions & 2) != 0 ? 'w' : '-').Append((permissions & 1) != 0 ? 'x' : '-');
        }

        text = entries.ToString();
        return text.Length > 0;
    }
}
