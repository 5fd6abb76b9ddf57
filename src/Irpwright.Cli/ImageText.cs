using Irpwright.Guest.Images;

namespace Irpwright.Cli;

/// <summary>An <see cref="ImageReport"/> for people.</summary>
static class ImageText
{
    public static void Write(TextWriter output, ImageReport report)
    {
        PortableExecutable image = report.Image;
        void Line(string text = "") => output.Write(text.TrimEnd() + "\n");
        void Field(string name, string value) => Line($"{name,-16}{value}");

        Field("driver", image.FileName);
        Field("version", image.FileVersion?.ToString() ?? "none");
        Field("image", $"base 0x{image.ImageBase:x}, {image.SizeOfImage} bytes, time stamp 0x{image.TimeDateStamp:x8}");
        Field("entry", $"0x{image.EntryPoint:x}{(image.SymbolAt(image.EntryPoint) is { } symbol ? $"  {symbol}" : "")}");
        Field("security cookie", image.LoadConfiguration?.SecurityCookie is { } cookie ? $"0x{cookie:x}" : "none");
        Field("imphash", image.ImportHash.Length > 0 ? image.ImportHash : "none");

        Line();
        Line("sections");
        foreach (ImageSection section in image.Sections)
        {
            string access = $"{(section.Characteristics.HasFlag(SectionCharacteristics.MemoryRead) ? "r" : "-")}{(section.IsWritable ? "w" : "-")}{(section.IsExecutable ? "x" : "-")}";
            Line($"  {section.Name,-8}  0x{section.VirtualAddress:x6}  {section.VirtualSize,8} bytes  {access}{(section.IsDiscardable ? "  discardable" : "")}{(section.IsPageable ? "  pageable" : "")}");
        }

        WriteImports(Line, report);
        WriteList(Line, "exports", image.Exports, e => $"0x{e.Rva:x6}  {(e.Name.Length > 0 ? e.Name : $"#{e.Ordinal}")}{(e.Forwarder.Length > 0 ? $" -> {e.Forwarder}" : "")}");
        WriteList(Line, "device names", report.DeviceNames, n => n.Text);
        WriteList(Line, "control codes", report.ControlCodes, c => $"0x{c.Value:x8}  {c.Method}, device type 0x{c.DeviceType:x}, function 0x{c.Function:x}, {Access(c.RequiredAccess)}");
    }

    static void WriteImports(Action<string> line, ImageReport report)
    {
        ReportedImport[] missing = [.. report.Imports.Where(i => !i.IsSupported)];
        line("");
        line(missing.Length == 0 ? $"imports ({report.Imports.Length}, all supported)" : $"imports ({report.Imports.Length}, {missing.Length} not supported: the driver cannot run)");
        foreach (ReportedImport import in missing) line($"  NOT SUPPORTED  {import.Import}");
        foreach (IGrouping<string, ReportedImport> module in report.Imports.Where(i => i.IsSupported).GroupBy(i => i.Import.Module, StringComparer.OrdinalIgnoreCase))
        {
            line($"  {module.Key}");
            foreach (string name in module.Select(i => i.Import.Name).Order(StringComparer.Ordinal)) line($"    {name}");
        }
        if (!report.Image.DelayImports.IsEmpty) WriteList(line, "delay imports", report.Image.DelayImports, i => i.ToString());
    }

    static void WriteList<T>(Action<string> line, string title, IReadOnlyCollection<T> items, Func<T, string> text)
    {
        line("");
        line(items.Count == 0 ? $"{title} (none)" : title);
        foreach (T item in items) line($"  {text(item)}");
    }

    static string Access(uint access) => access switch { 0 => "any access", 1 => "read access", 2 => "write access", _ => "read and write access" };
}
