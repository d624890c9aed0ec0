using System.Globalization;
using System.Text;

namespace BackupIQ.Sources.Postgres.Backup;

/// <summary>The name of a file of a relation: <c>16384</c>, <c>16384_vm</c>, <c>16384.1</c>; of a temporary one <c>t3_16384</c>.</summary>
/// <param name="Number">The relation's file number.</param>
/// <param name="Fork"><c>main</c>, <c>fsm</c>, <c>vm</c> or <c>init</c>.</param>
/// <param name="Segment">The how manieth file of the fork.</param>
/// <param name="IsTemporary">It belongs to one session and is worth nothing without it.</param>
internal readonly record struct RelationName(uint Number, string Fork, uint Segment, bool IsTemporary)
{
    /// <summary>Takes a name apart; false: it is no relation's.</summary>
    public static bool TryParse(ReadOnlySpan<byte> name, out RelationName relation)
    {
        relation = default;
        bool isTemporary = name is [(byte)'t', ..];
        if (isTemporary)
        {
            int mark = name.IndexOf((byte)'_');
            if (mark < 2 || !TryNumber(name[1..mark], out _))
            {
                return false;
            }

            name = name[(mark + 1)..];
        }

        uint segment = 0;
        int dot = name.IndexOf((byte)'.');
        if (dot >= 0)
        {
            if (!TryNumber(name[(dot + 1)..], out segment))
            {
                return false;
            }

            name = name[..dot];
        }

        string fork = "main";
        int underscore = name.IndexOf((byte)'_');
        if (underscore >= 0)
        {
            fork = Encoding.ASCII.GetString(name[(underscore + 1)..]);
            if (fork is not ("fsm" or "vm" or "init"))
            {
                return false;
            }

            name = name[..underscore];
        }

        if (!TryNumber(name, out uint number))
        {
            return false;
        }

        relation = new RelationName(number, fork, segment, isTemporary);
        return true;
    }

    private static bool TryNumber(ReadOnlySpan<byte> digits, out uint number) => uint.TryParse(digits, NumberStyles.None, CultureInfo.InvariantCulture, out number);
}
