using System.Buffers.Binary;
using BackupIQ.Primitives;
using BackupIQ.Repository.Crypto;
using BackupIQ.Repository.Packs;

namespace BackupIQ.Repository.Format;

/// <summary>
/// The clear head of a pack: magic <c>BIQP</c>, format, kind, worker, session, and the table of salts (docs/format.md, Packs).
/// </summary>
internal sealed record PackHead(PackKind Kind, SessionId Session, ushort Worker, IReadOnlyList<SaltRow> Salts)
{
    public const int FixedSize = 28;

    /// <summary>A pack made of other packs' frames has a row for each of theirs; a row's number is one byte.</summary>
    public const int MaxSalts = 255;

    public static ReadOnlySpan<byte> Magic => "BIQP"u8;

    public int Size => FixedSize + (Salts.Count * SaltRow.Size);

    public void Write(Span<byte> bytes)
    {
        bytes[..FixedSize].Clear();
        Magic.CopyTo(bytes);
        bytes[4] = 1;
        bytes[5] = (byte)Kind;
        BinaryPrimitives.WriteUInt16LittleEndian(bytes[6..], Worker);
        Session.Write(bytes[8..]);
        bytes[24] = (byte)Salts.Count;
        for (int i = 0; i < Salts.Count; i++)
        {
            Salts[i].Write(bytes[(FixedSize + (i * SaltRow.Size))..]);
        }
    }

    /// <summary>Reads who wrote a pack from its first <see cref="FixedSize"/> bytes; false when these are not a pack's.</summary>
    public static bool TryReadSession(ReadOnlySpan<byte> bytes, out SessionId session)
    {
        bool isPack = bytes.Length >= FixedSize && bytes[..4].SequenceEqual(Magic) && bytes[4] == 1;
        session = isPack ? SessionId.Read(bytes[8..]) : default;
        return isPack;
    }

    /// <summary>Reads a head from the first bytes of a pack; false when these are not one.</summary>
    public static bool TryRead(ReadOnlySpan<byte> bytes, out PackHead head)
    {
        head = null!;
        if (bytes.Length < FixedSize || !bytes[..4].SequenceEqual(Magic) || bytes[4] != 1 ||
            (PackKind)bytes[5] is not (PackKind.Data or PackKind.Metadata) || bytes[24] == 0 ||
            bytes.Length < FixedSize + (bytes[24] * SaltRow.Size))
        {
            return false;
        }

        SaltRow[] salts = new SaltRow[bytes[24]];
        for (int i = 0; i < salts.Length; i++)
        {
            salts[i] = SaltRow.Read(bytes.Slice(FixedSize + (i * SaltRow.Size), SaltRow.Size));
        }

        head = new PackHead((PackKind)bytes[5], SessionId.Read(bytes[8..]), BinaryPrimitives.ReadUInt16LittleEndian(bytes[6..]), salts);
        return true;
    }
}
