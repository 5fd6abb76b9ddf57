using System.Xml;

namespace Irpwright.Checking.Reports;

static class XmlText
{
    /// <summary>The text without the characters that XML cannot hold: a driver may print anything.</summary>
    public static string Printable(string text) => string.Concat(text.EnumerateRunes().Select(rune => IsPrintable(rune) ? rune.ToString() : "?"));

    static bool IsPrintable(System.Text.Rune rune) => !rune.IsBmp || XmlConvert.IsXmlChar((char)rune.Value);
}
