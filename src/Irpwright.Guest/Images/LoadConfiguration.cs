namespace Irpwright.Guest.Images;

/// <summary>What the load configuration structure asks of a loader. Fields are RVAs; null when absent.</summary>
/// <param name="SecurityCookie">The 8 bytes to which the loader writes the /GS cookie.</param>
/// <param name="GuardCheckFunctionPointer">The pointer through which control flow guard checks call targets.</param>
/// <param name="GuardDispatchFunctionPointer">The pointer through which control flow guard makes calls.</param>
public sealed record LoadConfiguration(
    uint? SecurityCookie, uint? GuardCheckFunctionPointer, uint? GuardDispatchFunctionPointer, uint GuardFlags)
{
    const ulong SecurityCookieOffset = 0x58, GuardCheckOffset = 0x70, GuardDispatchOffset = 0x78, GuardFlagsOffset = 0x90;

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
            guardFlags);
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
