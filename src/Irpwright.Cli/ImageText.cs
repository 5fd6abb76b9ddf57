using Irpwright.Guest.Images;
using Irpwright.Reporting;

namespace Irpwright.Cli;

/// <summary>An <see cref="ImageReport"/> for people.</summary>
sealed class ImageText(TextWriter output, ImageReport report)
{
    readonly PortableExecutable image = report.Image;

    public void Write()
    {
        Field("driver", image.FileName);
        if (report.Refusal is { } refusal) Field("cannot be loaded", $"{refusal.Place}: {refusal.Message}");
        Field("version", image.FileVersion?.ToString() ?? "none");
        Field("image", $"base 0x{image.ImageBase:x}, {image.SizeOfImage} bytes, time stamp 0x{image.TimeDateStamp:x8}");
        Field("entry", $"0x{image.EntryPoint:x}  {image.SymbolAt(image.EntryPoint)}");
        Field("security cookie", image.LoadConfiguration?.SecurityCookie is { } cookie ? $"0x{cookie:x}" : "none");
        Field("control flow", image.LoadConfiguration is { GuardDispatchFunctionPointer: { } dispatch } guard
            ? $"guarded, flags 0x{guard.GuardFlags:x}, dispatch pointer 0x{dispatch:x}" : "not guarded");
        Field("imphash", image.ImportHash.Length > 0 ? image.ImportHash : "none");
        Field("symbols", image.SymbolSources.Count > 0 ? $"{image.SymbolCount}, from {string.Join(", ", image.SymbolSources)}" : "none");
        if (image.CodeView is { } pdb) Field("PDB file", $"{pdb.Path}  {pdb.Signature:D} {pdb.Age}");
        if (!image.VersionTexts.IsEmpty) List("version resource", image.VersionTexts, pair => $"{pair.Key,-18}{pair.Value}");
        List("sections", image.Sections, Section);
        Imports();
        if (!image.DelayImports.IsEmpty) List("delay imports", image.DelayImports, i => i.ToString());
        List("exports", image.Exports, Export);
        List("device names", report.DeviceNames, n => n.Text);
        List("control codes", report.ControlCodes, Code);
    }

    /// <summary>What a section allows, as <c>r-x</c>.</summary>
    public static string Access(ImageSection section)
    {
        bool isReadable = section.Characteristics.HasFlag(SectionCharacteristics.MemoryRead);
        return $"{(isReadable ? 'r' : '-')}{(section.IsWritable ? 'w' : '-')}{(section.IsExecutable ? 'x' : '-')}";
    }

    /// <summary>What a handle must be opened for to send a control code.</summary>
    public static string Access(uint required) => required switch { 0 => "any", 1 => "read", 2 => "write", _ => "read and write" };

    static string Section(ImageSection section) =>
        $"{section.Name,-8}  0x{section.VirtualAddress:x6}  {section.VirtualSize,8} bytes  {Access(section)}"
        + (section.IsDiscardable ? "  discardable" : "") + (section.IsPageable ? "  pageable" : "");

    static string Export(ImageExport export)
    {
        string name = export.Name.Length > 0 ? export.Name : $"#{export.Ordinal}";
        return $"0x{export.Rva:x6}  {name}{(export.Forwarder.Length > 0 ? $" -> {export.Forwarder}" : "")}";
    }

    static string Code(ControlCode code) =>
        $"0x{code.Value:x8}  {RequestText.TransferMethod(code.Value)}"
        + $"  device type 0x{code.DeviceType:x}, function 0x{code.Function:x}, access {Access(code.RequiredAccess)}";

    string Import(ReportedImport import)
    {
        string name = import.Import.Ordinal is { } ordinal ? $"#{ordinal}" : import.Import.Name;
        return import.IsSupported ? name : $"{name}  NOT SUPPORTED  slot 0x{import.Import.AddressRva:x}{UsedBy(import)}";
    }

    string UsedBy(ReportedImport import)
    {
        const int enough = 3;
        if (import.References.IsEmpty) return "";
        string places = string.Join(", ", import.References.Take(enough).Select(rva => ImageReport.PlaceOf(image, rva)));
        int more = import.References.Length - enough;
        return $", used by {places}{(more > 0 ? $" and {more} more" : "")}";
    }

    void Imports()
    {
        int missing = report.Imports.Count(i => !i.IsSupported);
        string verdict = missing == 0 ? "all supported" : $"{missing} not supported: the driver cannot run";
        Line();
        Line($"imports ({report.Imports.Length}, {verdict})");
        foreach (IGrouping<string, ReportedImport> module in report.Imports.GroupBy(i => i.Import.Module, StringComparer.OrdinalIgnoreCase))
        {
            Line($"  {module.Key}");
            foreach (ReportedImport import in module.OrderBy(i => i.IsSupported).ThenBy(i => i.Import.Name, StringComparer.Ordinal))
                Line($"    {Import(import)}");
        }
    }

    void List<T>(string title, IReadOnlyCollection<T> items, Func<T, string> text)
    {
        Line();
        Line(items.Count == 0 ? $"{title} (none)" : title);
        foreach (T item in items) Line($"  {text(item)}");
    }

    void Field(string name, string value) => Line($"{name,-17}{value}");

    void Line(string text = "") => output.Write(text.TrimEnd() + "\n");
}
