using System.Collections.Immutable;
using System.Security.Cryptography;
using System.Text;

namespace Irpwright.Guest.Images;

/// <summary>One imported routine or variable.</summary>
/// <param name="Module">As the image spells it, for example <c>ntoskrnl.exe</c>.</param>
/// <param name="Name">Empty for an import by ordinal.</param>
/// <param name="AddressRva">RVA of its 8-byte slot in the import address table.</param>
public readonly record struct ImageImport(string Module, string Name, ushort? Ordinal, uint AddressRva)
{
    public override string ToString() => Ordinal is { } ordinal ? $"{Module}!#{ordinal}" : $"{Module}!{Name}";
}

static class ImportTable
{
    const int MaxModuleNameLength = 260;
    const int MaxSymbolNameLength = 4096;
    const int MaxImports = 1 << 16;
    const ulong OrdinalFlag = 1UL << 63;

    public static bool TryRead(MappedImage image, out ImmutableArray<ImageImport> imports)
    {
        imports = [];
        if (!image.RequireInside(ImageDirectory.Import, out IMAGE_DATA_DIRECTORY directory, out bool present)) return false;
        var found = ImmutableArray.CreateBuilder<ImageImport>();
        for (ulong at = directory.VirtualAddress; present; at += 20)
        {
            if (!image.Contents.TryRead(at, out IMAGE_IMPORT_DESCRIPTOR descriptor))
                return Fail(image, at, "the list of import descriptors runs past the end of the image without a null descriptor");
            if (descriptor.Name == 0 || descriptor.FirstThunk == 0) break;
            if (!image.Contents.TryReadName(descriptor.Name, MaxModuleNameLength, out string module))
                return Fail(image, at, $"Name 0x{descriptor.Name:X} leads to no module name");
            uint names = descriptor.OriginalFirstThunk != 0 ? descriptor.OriginalFirstThunk : descriptor.FirstThunk;
            if (ReadThunks(image, module, names, descriptor.FirstThunk, found) is { } problem) return Fail(image, at, problem);
        }
        imports = found.ToImmutable();
        return true;
    }

    /// <summary>Delay imports are listed, not bound: kernel images resolve them at run time, if at all.</summary>
    public static ImmutableArray<ImageImport> ReadDelayImports(MappedImage image)
    {
        if (!image.TryGetDirectory(ImageDirectory.DelayImport, out IMAGE_DATA_DIRECTORY directory)) return [];
        // The same readers, whose failure is only a warning here.
        var found = ImmutableArray.CreateBuilder<ImageImport>();
        for (ulong at = directory.VirtualAddress; image.Contents.TryRead(at, out IMAGE_DELAYLOAD_DESCRIPTOR descriptor); at += 32)
        {
            if (descriptor.DllNameRVA == 0) return found.ToImmutable();
            if (!image.Contents.TryReadName(descriptor.DllNameRVA, MaxModuleNameLength, out string module)
                || ReadThunks(image, module, descriptor.ImportNameTableRVA, descriptor.ImportAddressTableRVA, found) is not null)
                break;
        }
        image.Diagnostics.Warn(ImageProblem.BadDirectory, MappedImage.Place(ImageDirectory.DelayImport),
            "its descriptors are damaged; those read so far are listed");
        return found.ToImmutable();
    }

    /// <summary>
    /// The import hash (imphash) by which malware analysts group images: MD5 of the imports in order, lower case, modules without
    /// extension.
    /// </summary>
    public static string Hash(ImmutableArray<ImageImport> imports)
    {
        if (imports.IsEmpty) return "";
        var text = new StringBuilder();
        foreach (ImageImport import in imports)
        {
            string module = import.Module.ToLowerInvariant();
            if (Path.GetExtension(module) is ".dll" or ".sys" or ".ocx") module = module[..^4];
            text.Append(text.Length == 0 ? "" : ",").Append(module).Append('.')
                .Append(import.Ordinal is { } ordinal ? $"ord{ordinal}" : import.Name.ToLowerInvariant());
        }
#pragma warning disable CA5351 // The import hash is defined as MD5; it identifies, it protects nothing.
        return Convert.ToHexStringLower(MD5.HashData(Encoding.ASCII.GetBytes(text.ToString())));
#pragma warning restore CA5351
    }

    /// <summary>Adds the imports from one module; null, or what is wrong with its tables.</summary>
    static string? ReadThunks(MappedImage image, string module, uint names, uint addresses, ImmutableArray<ImageImport>.Builder found)
    {
        for (ulong offset = 0; ; offset += 8)
        {
            if (!image.Contents.TryRead(names + offset, out ulong thunk) || !image.Contents.TryRead(addresses + offset, out ulong _))
                return $"the imports from {module} run past the end of the image without a null entry";
            if (thunk == 0) return null;
            if (found.Count == MaxImports) return $"more than {MaxImports} imports";
            uint slot = (uint)(addresses + offset);
            if ((thunk & OrdinalFlag) != 0)
                found.Add(new ImageImport(module, "", (ushort)thunk, slot));
            else if (thunk <= int.MaxValue && image.Contents.TryReadName(thunk + 2, MaxSymbolNameLength, out string name))
                found.Add(new ImageImport(module, name, null, slot));
            else
                return $"import {offset / 8} from {module} (0x{thunk:X} at RVA 0x{names + offset:X}) leads to no Hint/Name entry";
        }
    }

    static bool Fail(MappedImage image, ulong descriptorRva, string what) =>
        image.Diagnostics.FailDamaged($"{MappedImage.Place(ImageDirectory.Import)}, descriptor at RVA 0x{descriptorRva:X}", what);
}
