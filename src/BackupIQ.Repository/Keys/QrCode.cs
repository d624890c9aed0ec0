using System.Globalization;
using System.Text;

namespace BackupIQ.Repository.Keys;

/// <summary>
/// A QR code (ISO/IEC 18004) of the one size that a recovery kit needs: version 5 (37 by 37), error correction M, byte mode, at most 84
/// bytes. One mask suffices, for the content is random text; any reader takes the mask from the code itself.
/// </summary>
internal static class QrCode
{
    /// <summary>Modules on each side.</summary>
    public const int Size = 37;

    /// <summary>The most bytes that fit.</summary>
    public const int MaxBytes = DataCodewords - 2;

    private const int DataCodewords = 86;
    private const int Blocks = 2;
    private const int BlockData = DataCodewords / Blocks;
    private const int BlockCorrection = 24;
    private const int Mask = 6;
    private const int Quiet = 4;

    /// <summary>The modules by row and column; true is dark.</summary>
    public static bool[,] Encode(ReadOnlySpan<byte> content)
    {
        var dark = new bool[Size, Size];
        var taken = new bool[Size, Size];
        PlaceFunctionPatterns(dark, taken);
        PlaceFormat(dark, taken);
        PlaceData(dark, taken, Interleave(DataBits(content)));
        return dark;
    }

    /// <summary>The code as lines of half blocks, dark on light, with the quiet zone around it.</summary>
    public static string Render(bool[,] dark)
    {
        StringBuilder text = new();
        for (int row = -Quiet; row < Size + Quiet; row += 2)
        {
            for (int column = -Quiet; column < Size + Quiet; column++)
            {
                text.Append((IsDark(row, column), IsDark(row + 1, column)) switch
                {
                    (true, true) => '█',
                    (true, false) => '▀',
                    (false, true) => '▄',
                    _ => ' ',
                });
            }

            text.Append('\n');
        }

        return text.ToString();

        bool IsDark(int row, int column) => row is >= 0 and < Size && column is >= 0 and < Size && dark[row, column];
    }

    /// <summary>The code as a drawing (SVG) of one path, with the quiet zone around it.</summary>
    public static string Draw(bool[,] dark)
    {
        StringBuilder path = new();
        for (int row = 0; row < Size; row++)
        {
            for (int column = 0; column < Size; column++)
            {
                if (dark[row, column])
                {
                    path.Append(CultureInfo.InvariantCulture, $"M{column + Quiet} {row + Quiet}h1v1h-1z");
                }
            }
        }

        const int Side = Size + (2 * Quiet);
        return $"<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {Side} {Side}\" shape-rendering=\"crispEdges\"><rect width=\"{Side}\" height=\"{Side}\" fill=\"#fff\"/><path d=\"{path}\"/></svg>";
    }

    private static byte[] DataBits(ReadOnlySpan<byte> content)
    {
        ArgumentOutOfRangeException.ThrowIfGreaterThan(content.Length, MaxBytes);
        var data = new byte[DataCodewords];

        // Mode 0100, then the length in 8 bits, then the bytes: everything is shifted by half a byte. The terminator is the zero half.
        data[0] = (byte)(0x40 | (content.Length >> 4));
        data[1] = (byte)(content.Length << 4);
        for (int i = 0; i < content.Length; i++)
        {
            data[i + 1] |= (byte)(content[i] >> 4);
            data[i + 2] = (byte)(content[i] << 4);
        }

        for (int i = content.Length + 2, pad = 0; i < DataCodewords; i++, pad ^= 1)
        {
            data[i] = pad == 0 ? (byte)0xEC : (byte)0x11;
        }

        return data;
    }

    private static byte[] Interleave(byte[] data)
    {
        var result = new byte[DataCodewords + (Blocks * BlockCorrection)];
        for (int block = 0; block < Blocks; block++)
        {
            ReadOnlySpan<byte> part = data.AsSpan(block * BlockData, BlockData);
            byte[] correction = Correction(part);
            for (int i = 0; i < BlockData; i++)
            {
                result[(i * Blocks) + block] = part[i];
            }

            for (int i = 0; i < BlockCorrection; i++)
            {
                result[DataCodewords + (i * Blocks) + block] = correction[i];
            }
        }

        return result;
    }

    // Reed–Solomon over GF(256) with 0x11D: the remainder of data · x^24 by (x - 1)(x - 2)(x - 4)…
    private static byte[] Correction(ReadOnlySpan<byte> data)
    {
        var generator = new byte[BlockCorrection];
        generator[^1] = 1;
        byte root = 1;
        for (int i = 0; i < BlockCorrection; i++)
        {
            for (int k = 0; k < BlockCorrection; k++)
            {
                generator[k] = (byte)(Multiply(generator[k], root) ^ (k + 1 < BlockCorrection ? generator[k + 1] : 0));
            }

            root = Multiply(root, 2);
        }

        var remainder = new byte[BlockCorrection];
        foreach (byte value in data)
        {
            byte factor = (byte)(value ^ remainder[0]);
            for (int k = 0; k < BlockCorrection; k++)
            {
                byte next = k + 1 < BlockCorrection ? remainder[k + 1] : (byte)0;
                remainder[k] = (byte)(next ^ Multiply(generator[k], factor));
            }
        }

        return remainder;
    }

    private static byte Multiply(byte left, byte right)
    {
        int product = 0;
        for (int bit = 7; bit >= 0; bit--)
        {
            product = (product << 1) ^ ((product >> 7) * 0x11D);
            product ^= ((right >> bit) & 1) * left;
        }

        return (byte)product;
    }

    private static void PlaceFunctionPatterns(bool[,] dark, bool[,] taken)
    {
        for (int i = 0; i < Size; i++)
        {
            Set(6, i, i % 2 == 0);
            Set(i, 6, i % 2 == 0);
        }

        Finder(3, 3);
        Finder(3, Size - 4);
        Finder(Size - 4, 3);
        for (int row = -2; row <= 2; row++)
        {
            for (int column = -2; column <= 2; column++)
            {
                Set(30 + row, 30 + column, Math.Max(Math.Abs(row), Math.Abs(column)) != 1);
            }
        }

        void Finder(int middleRow, int middleColumn)
        {
            for (int row = -4; row <= 4; row++)
            {
                for (int column = -4; column <= 4; column++)
                {
                    if (middleRow + row is >= 0 and < Size && middleColumn + column is >= 0 and < Size)
                    {
                        Set(middleRow + row, middleColumn + column, Math.Max(Math.Abs(row), Math.Abs(column)) is not (2 or 4));
                    }
                }
            }
        }

        void Set(int row, int column, bool value)
        {
            dark[row, column] = value;
            taken[row, column] = true;
        }
    }

    // Error correction M is 00, then the mask, then ten bits of BCH; once around the upper left finder, once split between the others.
    private static void PlaceFormat(bool[,] dark, bool[,] taken)
    {
        int remainder = Mask;
        for (int i = 0; i < 10; i++)
        {
            remainder = (remainder << 1) ^ ((remainder >> 9) * 0x537);
        }

        int bits = ((Mask << 10) | remainder) ^ 0x5412;
        for (int i = 0; i < 15; i++)
        {
            bool value = ((bits >> i) & 1) != 0;
            (int row, int column) = i switch
            {
                < 6 => (i, 8),
                6 => (7, 8),
                7 => (8, 8),
                8 => (8, 7),
                _ => (8, 14 - i),
            };
            Set(row, column, value);
            (row, column) = i < 8 ? (8, Size - 1 - i) : (Size - 15 + i, 8);
            Set(row, column, value);
        }

        Set(Size - 8, 8, true);

        void Set(int row, int column, bool value)
        {
            dark[row, column] = value;
            taken[row, column] = true;
        }
    }

    // Two columns at a time from the right, upwards and downwards in turn, leaving out the vertical timing column.
    private static void PlaceData(bool[,] dark, bool[,] taken, byte[] codewords)
    {
        int bit = 0;
        for (int right = Size - 1; right > 0; right -= 2)
        {
            if (right == 6)
            {
                right = 5;
            }

            bool upwards = ((right + 1) & 2) == 0;
            for (int step = 0; step < Size; step++)
            {
                int row = upwards ? Size - 1 - step : step;
                for (int column = right; column >= right - 1; column--)
                {
                    if (!taken[row, column])
                    {
                        bool value = bit < codewords.Length * 8 && ((codewords[bit / 8] >> (7 - (bit % 8))) & 1) != 0;
                        dark[row, column] = value ^ IsMasked(row, column);
                        bit++;
                    }
                }
            }
        }
    }

    // Mask 110.
    private static bool IsMasked(int row, int column) => ((row * column % 2) + (row * column % 3)) % 2 == 0;
}
