namespace BackupIQ.Repository.Parity;

/// <summary>
/// Arithmetic in the field of 256 elements modulo x^8 + x^4 + x^3 + x + 1, the polynomial of AES: the processor's GF2P8MULB knows it.
/// Addition is exclusive or.
/// </summary>
internal static class GaloisField
{
    // Powers of the generator x + 1, twice over, so that a sum of two logarithms needs no reduction.
    private static readonly byte[] Powers = MakePowers();
    private static readonly byte[] Logarithms = MakeLogarithms(Powers);

    public static byte Multiply(byte a, byte b) => a == 0 || b == 0 ? (byte)0 : Powers[Logarithms[a] + Logarithms[b]];

    /// <summary>The inverse; 0 has none.</summary>
    public static byte Invert(byte a) =>
        a == 0 ? throw new DivideByZeroException("0 has no inverse in the field.") : Powers[255 - Logarithms[a]];

    private static byte[] MakePowers()
    {
        byte[] powers = new byte[510];
        int value = 1;
        for (int i = 0; i < 255; i++)
        {
            powers[i] = powers[i + 255] = (byte)value;
            value ^= value << 1;
            value ^= value > 255 ? 0x11B : 0;
        }

        return powers;
    }

    private static byte[] MakeLogarithms(byte[] powers)
    {
        byte[] logarithms = new byte[256];
        for (int i = 0; i < 255; i++)
        {
            logarithms[powers[i]] = (byte)i;
        }

        return logarithms;
    }
}
