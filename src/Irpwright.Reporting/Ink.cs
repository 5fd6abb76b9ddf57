using System.Text;

namespace Irpwright.Reporting;

/// <summary>How a piece of text is set off on a terminal.</summary>
public enum Ink : byte
{
    Plain,
    Strong,
    Faint,
    Good,
    Waiting,
    Bad,
}

/// <summary>One line of text whose pieces know their ink; the text itself never depends on colours.</summary>
sealed class InkedLine
{
    readonly StringBuilder text = new();
    readonly List<(int Start, Ink Ink)> inks = [];

    public int Length => text.Length;

    public InkedLine Add(string piece, Ink ink = Ink.Plain)
    {
        if (piece.Length == 0) return this;
        if (inks.Count == 0 || inks[^1].Ink != ink) inks.Add((text.Length, ink));
        text.Append(piece);
        return this;
    }

    /// <summary>Fills up with spaces to a column; at least two follow what is there.</summary>
    public InkedLine PadTo(int column) => Add(new string(' ', Math.Max(2, column - text.Length)));

    public void Clear()
    {
        text.Clear();
        inks.Clear();
    }

    public override string ToString() => text.ToString().TrimEnd();

    /// <summary>The line with terminal escape sequences.</summary>
    public string ToAnsi()
    {
        var ansi = new StringBuilder();
        for (int i = 0; i < inks.Count; i++)
        {
            int end = i + 1 < inks.Count ? inks[i + 1].Start : text.Length;
            string piece = text.ToString(inks[i].Start, end - inks[i].Start);
            if (i == inks.Count - 1) piece = piece.TrimEnd();
            ansi.Append(Paint(piece, inks[i].Ink));
        }
        return ansi.ToString();
    }

    public static string Paint(string text, Ink ink) => ink switch
    {
        Ink.Strong => $"\e[1m{text}\e[0m",
        Ink.Faint => $"\e[2m{text}\e[0m",
        Ink.Good => $"\e[32m{text}\e[0m",
        Ink.Waiting => $"\e[33m{text}\e[0m",
        Ink.Bad => $"\e[31m{text}\e[0m",
        _ => text,
    };
}
