namespace BackupIQ.Repository.Parity;

/// <summary>
/// A systematic Reed–Solomon code over <see cref="GaloisField"/> with a Cauchy matrix: parity p is the sum of all data d, each times
/// 1 / ((255 − p) + d). Every square part of such a matrix has an inverse, so any r lost data come back from any r parities. The matrix
/// does not depend on how many there are of either; together at most 256.
/// </summary>
internal static class ReedSolomon
{
    /// <summary>The most data and parities of a code word.</summary>
    public const int MaxShards = 256;

    /// <summary>What data <paramref name="data"/> is multiplied with in parity <paramref name="parity"/>.</summary>
    public static byte Coefficient(int parity, int data) => GaloisField.Invert((byte)((255 - parity) ^ data));

    /// <summary>
    /// The matrix that makes the lost data (rows, in the order of <paramref name="lost"/>) out of what the parities lack of them (columns, in
    /// the order of <paramref name="parities"/>): row after row, <c>lost.Length</c> squared. There must be as many of both.
    /// </summary>
    public static byte[] Solve(ReadOnlySpan<int> lost, ReadOnlySpan<int> parities)
    {
        int n = lost.Length;
        if (parities.Length != n)
        {
            throw new ArgumentException("As many parities are needed as data are lost.", nameof(parities));
        }

        // Gauss–Jordan on [matrix | identity].
        byte[] left = new byte[n * n];
        byte[] right = new byte[n * n];
        for (int row = 0; row < n; row++)
        {
            right[(row * n) + row] = 1;
            for (int column = 0; column < n; column++)
            {
                left[(row * n) + column] = Coefficient(parities[row], lost[column]);
            }
        }

        for (int pivot = 0; pivot < n; pivot++)
        {
            // No pivot is 0: the leading squares of a Cauchy matrix all have inverses.
            byte factor = GaloisField.Invert(left[(pivot * n) + pivot]);
            Scale(left.AsSpan(pivot * n, n), factor);
            Scale(right.AsSpan(pivot * n, n), factor);
            for (int row = 0; row < n; row++)
            {
                byte times = left[(row * n) + pivot];
                if (row != pivot && times != 0)
                {
                    GaloisKernel.MultiplyAdd(left.AsSpan(pivot * n, n), times, left.AsSpan(row * n, n));
                    GaloisKernel.MultiplyAdd(right.AsSpan(pivot * n, n), times, right.AsSpan(row * n, n));
                }
            }
        }

        return right;
    }

    private static void Scale(Span<byte> row, byte factor)
    {
        for (int i = 0; i < row.Length; i++)
        {
            row[i] = GaloisField.Multiply(row[i], factor);
        }
    }
}
