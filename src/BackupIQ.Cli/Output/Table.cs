using System.Text;

namespace BackupIQ.Cli.Output;

/// <summary>Columns of text, as wide as they need to be. Cells are shown as given: make them safe first.</summary>
internal sealed class Table
{
    private readonly List<string[]> _rows = [];
    private readonly bool[] _right;

    /// <summary>Heads of the columns; one that begins with <c>&gt;</c> is aligned to the right.</summary>
    public Table(params string[] heads)
    {
        _right = [.. heads.Select(static head => head.StartsWith('>'))];
        _rows.Add([.. heads.Select(static head => head.TrimStart('>'))]);
    }

    /// <summary>Adds a row with one cell for each column.</summary>
    public void Add(params string[] cells) => _rows.Add(cells);

    /// <summary>Writes the heads, a rule and the rows.</summary>
    public void Write(TextWriter output)
    {
        int[] widths = [.. Enumerable.Range(0, _right.Length).Select(column => _rows.Max(row => DisplayText.Columns(row[column])))];
        for (int i = 0; i < _rows.Count; i++)
        {
            output.WriteLine(Line(_rows[i], widths));
            if (i == 0)
            {
                output.WriteLine(new string('-', widths.Sum() + (2 * (widths.Length - 1))));
            }
        }
    }

    private string Line(string[] cells, int[] widths)
    {
        StringBuilder line = new();
        for (int column = 0; column < cells.Length; column++)
        {
            line.Append(column == 0 ? "" : "  ").Append(DisplayText.Pad(cells[column], widths[column], _right[column]));
        }

        return line.ToString().TrimEnd();
    }
}
