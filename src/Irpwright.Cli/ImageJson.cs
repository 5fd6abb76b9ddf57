using System.Text.Json;
using Irpwright.Guest.Images;
using Irpwright.Reporting;

namespace Irpwright.Cli;

/// <summary>What <c>inspect --json</c> prints. Addresses are relative to the image, as 0x numbers.</summary>
sealed record ImageJson
{
    public int Version { get; init; } = 1;

    public required string Driver { get; init; }

    public required bool Runnable { get; init; }

    public string? Refusal { get; init; }

    public string? FileVersion { get; init; }

    public required string ImageBase { get; init; }

    public required uint SizeOfImage { get; init; }

    public required string TimeDateStamp { get; init; }

    public required string EntryPoint { get; init; }

    public string? EntrySymbol { get; init; }

    public string? SecurityCookie { get; init; }

    public string? GuardFlags { get; init; }

    public string? Imphash { get; init; }

    public IReadOnlyDictionary<string, string>? VersionTexts { get; init; }

    public required IReadOnlyList<string> Symbols { get; init; }

    public string? Pdb { get; init; }

    public required IReadOnlyList<SectionJson> Sections { get; init; }

    public required IReadOnlyList<ImportJson> Imports { get; init; }

    public required IReadOnlyList<string> DelayImports { get; init; }

    public required IReadOnlyList<ExportJson> Exports { get; init; }

    public required IReadOnlyList<string> DeviceNames { get; init; }

    public required IReadOnlyList<ControlCodeJson> ControlCodes { get; init; }

    public required IReadOnlyList<string> Warnings { get; init; }

    public static ImageJson Of(ImageReport report)
    {
        PortableExecutable image = report.Image;
        return new ImageJson
        {
            Driver = image.FileName,
            Runnable = report.Refusal is null && report.Imports.All(i => i.IsSupported),
            Refusal = report.Refusal?.ToString(),
            FileVersion = image.FileVersion?.ToString(),
            ImageBase = Number(image.ImageBase),
            SizeOfImage = image.SizeOfImage,
            TimeDateStamp = Number(image.TimeDateStamp),
            EntryPoint = Number(image.EntryPoint),
            EntrySymbol = image.SymbolAt(image.EntryPoint)?.ToString(),
            SecurityCookie = image.LoadConfiguration?.SecurityCookie is { } cookie ? Number(cookie) : null,
            Imphash = image.ImportHash.Length > 0 ? image.ImportHash : null,
            Sections = [.. image.Sections.Select(s =>
                new SectionJson(s.Name, Number(s.VirtualAddress), s.VirtualSize, ImageText.Access(s), s.IsDiscardable, s.IsPageable))],
            GuardFlags = image.LoadConfiguration is { GuardDispatchFunctionPointer: not null } guard ? Number(guard.GuardFlags) : null,
            VersionTexts = image.VersionTexts.IsEmpty ? null : image.VersionTexts,
            Symbols = [.. image.SymbolSources],
            Pdb = image.CodeView?.Path,
            Imports = [.. report.Imports.Select(i => new ImportJson(i.Import.Module, i.Import.Name, i.Import.Ordinal, i.IsSupported,
                Number(i.Import.AddressRva), [.. i.References.Select(rva => ImageReport.PlaceOf(image, rva))]))],
            DelayImports = [.. image.DelayImports.Select(i => i.ToString())],
            Exports = [.. image.Exports.Select(e =>
                new ExportJson(e.Name, e.Ordinal, Number(e.Rva), e.Forwarder.Length > 0 ? e.Forwarder : null))],
            DeviceNames = [.. report.DeviceNames.Select(n => n.Text)],
            ControlCodes = [.. report.ControlCodes.Select(ControlCodeJson.Of)],
            Warnings = [.. image.Warnings.Select(w => w.ToString())],
        };
    }

    public string Serialize() => JsonSerializer.Serialize(this, CliJson.Readable.ImageJson) + "\n";

    public static string Number(ulong value) => $"0x{value:x}";
}

sealed record SectionJson(string Name, string Address, uint Size, string Access, bool Discardable, bool Pageable);

sealed record ImportJson(string Module, string Name, ushort? Ordinal, bool Supported, string Slot, IReadOnlyList<string> References);

sealed record ExportJson(string Name, uint Ordinal, string Address, string? Forwarder);

sealed record ControlCodeJson(string Code, string Method, string DeviceType, string Function, string Access)
{
    public static ControlCodeJson Of(ControlCode code) => new(
        $"0x{code.Value:x8}",
        RequestText.TransferMethod(code.Value),
        ImageJson.Number(code.DeviceType),
        ImageJson.Number(code.Function),
        ImageText.Access(code.RequiredAccess));
}
