using System.Collections.Immutable;
using Irpwright.Kernel;

namespace Irpwright.Guest.Images;

/// <summary>Finds what images import: in the kernel, or in other images of the machine.</summary>
/// <param name="findImage">The image of a module name without extension; null when none is loaded.</param>
sealed class ImageLinker(Machine machine, Func<string, DriverImage?> findImage)
{
    /// <summary>Longest chain of forwarders; a longer one goes in circles.</summary>
    const int MaxForwarders = 8;

    /// <summary>
    /// What linkers have called the kernel and the hardware abstraction layer, without extension; which of the two exports a
    /// routine has changed over time.
    /// </summary>
    static readonly string[] KernelModules = ["ntoskrnl", "hal", "ntkrnlmp", "ntkrnlpa", "ntkrpamp", "wdm"];

    /// <summary>Whether a module name stands for the kernel itself.</summary>
    public static bool IsKernel(string module) => KernelModules.Contains(WithoutExtension(module), StringComparer.OrdinalIgnoreCase);

    /// <summary>The name by which modules are compared: forwarders carry no extension, imports do.</summary>
    public static string WithoutExtension(string module) => Path.GetFileNameWithoutExtension(module);

    /// <summary>The address of an import, and the image that it is in unless it is the kernel's; null when nobody exports it.</summary>
    public (ulong Address, DriverImage? Image)? Find(ImageImport import) => Find(import.Module, import.Name, import.Ordinal, MaxForwarders);

    (ulong Address, DriverImage? Image)? Find(string module, string name, ushort? ordinal, int forwarders)
    {
        if (IsKernel(module))
        {
            // Ordinals of the kernel's exports change with every build of Windows; no driver can rely on one.
            return ordinal is null && machine.SystemRoutines.Find(name) is { } address ? (address, null) : null;
        }
        if (findImage(WithoutExtension(module)) is not { } image) return null;
        ImageExport? found = ordinal is { } number ? image.File.FindExport(number) : image.File.FindExport(name);
        if (found is not { } export) return null;
        if (export.Forwarder.Length == 0) return (image.Base + export.Rva, image);
        return forwarders > 0 && ParseForwarder(export.Forwarder) is { } target
            ? Find(target.Module, target.Name, target.Ordinal, forwarders - 1)
            : null;
    }

    /// <summary><c>MODULE.Name</c> or <c>MODULE.#Ordinal</c>.</summary>
    static ImageImport? ParseForwarder(string forwarder)
    {
        int dot = forwarder.LastIndexOf('.');
        if (dot <= 0 || dot == forwarder.Length - 1) return null;
        // The extension keeps a module name that has dots itself whole.
        string module = forwarder[..dot] + ".sys", name = forwarder[(dot + 1)..];
        if (name[0] != '#') return new ImageImport(module, name, null, 0);
        return ushort.TryParse(name.AsSpan(1), out ushort ordinal) ? new ImageImport(module, "", ordinal, 0) : null;
    }

    /// <summary>The other modules that an image imports from, each once.</summary>
    public static ImmutableArray<string> ModulesOf(PortableExecutable file) =>
    [
        .. file.Imports.Select(import => import.Module).Distinct(StringComparer.OrdinalIgnoreCase).Where(module => !IsKernel(module)),
    ];
}
