using System.Collections.Immutable;

namespace Irpwright.Guest.Images;

/// <summary>What the load configuration structure asks of a loader. Fields are RVAs; null when absent.</summary>
/// <param name="SecurityCookie">The 8 bytes to which the loader writes the /GS cookie.</param>
/// <param name="GuardCheckFunctionPointer">The pointer through which control flow guard checks call targets.</param>
/// <param name="GuardDispatchFunctionPointer">The pointer through which control flow guard makes calls.</param>
/// <param name="GuardFunctions">The routines that may be called through pointers, in ascending order; null for an image that does not list them.</param>
public sealed record LoadConfiguration(
    uint? SecurityCookie, uint? GuardCheckFunctionPointer, uint? GuardDispatchFunctionPointer, uint GuardFlags, ImmutableArray<uint>? GuardFunctions)
{
    const ulong SecurityCookieOffset = 0x58, GuardCheckOffset = 0x70, GuardDispatchOffset = 0x78, GuardTableOffset = 0x80, GuardCountOffset = 0x88;
    const ulong GuardFlagsOffset = 0x90;
    /// <summary>IMAGE_GUARD_CF_INSTRUMENTED and IMAGE_GUARD_CF_FUNCTION_TABLE_PRESENT; how many bytes follow the RVA in each entry of that table.</summary>
    const uint Instrumented = 0x100, HasFunctionTable = 0x400;
    const int ExtraSizeShift = 28;
    /// <summary>IMAGE_GUARD_FLAG_FID_SUPPRESSED: listed, and no valid target all the same.</summary>
    const byte Suppressed = 1;

    internal static LoadConfiguration? Read(MappedImage image)
    {
        if (!image.TryGetDirectory(ImageDirectory.LoadConfiguration, out IMAGE_DATA_DIRECTORY directory)) return null;
        // The structure has grown with every Windows; its own Size says which fields this one has.
        if (!image.Contents.TryRead(directory.VirtualAddress, out uint size)
            || !image.Contents.TrySlice(directory.VirtualAddress, size, out ReadOnlySpan<byte> structure))
        {
            image.Diagnostics.Warn(ImageProblem.BadDirectory, MappedImage.Place(ImageDirectory.LoadConfiguration),
                "its Size reaches outside the image; it is ignored");
            return null;
        }
        structure.TryRead(GuardFlagsOffset, out uint guardFlags);
        return new LoadConfiguration(
            Pointer(image, structure, SecurityCookieOffset, "SecurityCookie"),
            Pointer(image, structure, GuardCheckOffset, "GuardCFCheckFunctionPointer"),
            Pointer(image, structure, GuardDispatchOffset, "GuardCFDispatchFunctionPointer"),
            guardFlags,
            Functions(image, structure, guardFlags));
    }

    static ImmutableArray<uint>? Functions(MappedImage image, ReadOnlySpan<byte> structure, uint flags)
    {
        if ((flags & (Instrumented | HasFunctionTable)) != (Instrumented | HasFunctionTable)) return null;
        if (!structure.TryRead(GuardTableOffset, out ulong address) || !structure.TryRead(GuardCountOffset, out ulong count)) return null;
        uint size = sizeof(uint) + (flags >> ExtraSizeShift);
        if (count > (uint)image.Contents.Length || !image.TryGetRva(address, out uint rva) || !image.Contents.TrySlice(rva, count * size, out ReadOnlySpan<byte> table))
        {
            if (count != 0)
            {
                image.Diagnostics.Warn(ImageProblem.BadDirectory, $"{MappedImage.Place(ImageDirectory.LoadConfiguration)}.GuardCFFunctionTable",
                    "lies outside the image; it is ignored");
            }
            return null;
        }
        var functions = ImmutableArray.CreateBuilder<uint>((int)count);
        for (ulong i = 0; i < count; i++)
        {
            table.TryRead(i * size, out uint function);
            bool isSuppressed = size > sizeof(uint) && (table[(int)(i * size) + sizeof(uint)] & Suppressed) != 0;
            if (!isSuppressed) functions.Add(function);
        }
        functions.Sort();
        return functions.ToImmutable();
    }

    static uint? Pointer(MappedImage image, ReadOnlySpan<byte> structure, ulong offset, string field)
    {
        if (!structure.TryRead(offset, out ulong address) || address == 0) return null;
        if (image.TryGetRva(address, out uint rva) && image.Contents.TrySlice(rva, 8, out _)) return rva;
        image.Diagnostics.Warn(ImageProblem.BadDirectory, $"{MappedImage.Place(ImageDirectory.LoadConfiguration)}.{field}",
            $"0x{address:X} is outside the image; it is ignored");
        return null;
    }
}
