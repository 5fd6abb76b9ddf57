using System.Collections.Immutable;

namespace Irpwright.Guest.Images;

/// <summary>Reads the base relocation table: on x64, IMAGE_REL_BASED_DIR64 is the only kind that linkers write.</summary>
static class RelocationTable
{
    const int Absolute = 0, Dir64 = 10;

    /// <param name="relocations">RVAs of the 8-byte addresses to adjust.</param>
    public static bool TryRead(MappedImage image, out ImmutableArray<uint> relocations)
    {
        relocations = [];
        if (!image.RequireInside(ImageDirectory.BaseRelocation, out IMAGE_DATA_DIRECTORY directory, out bool present)) return false;
        if (!present) return true;
        image.Contents.TrySlice(directory.VirtualAddress, directory.Size, out ReadOnlySpan<byte> table);
        var found = ImmutableArray.CreateBuilder<uint>();
        for (ulong at = 0; at < directory.Size;)
        {
            if (!table.TryRead(at, out IMAGE_BASE_RELOCATION block))
                return Fail(image, directory, at, "the table ends in the middle of a block header");
            // Some linkers pad the table with zeros.
            if (block is { VirtualAddress: 0, SizeOfBlock: 0 }) break;
            if (block.SizeOfBlock < 8 || block.SizeOfBlock % 2 != 0 || !table.TrySlice(at, block.SizeOfBlock, out ReadOnlySpan<byte> bytes))
                return Fail(image, directory, at, $"SizeOfBlock 0x{block.SizeOfBlock:X} is not possible here");
            for (ulong entryAt = 8; bytes.TryRead(entryAt, out ushort entry); entryAt += 2)
            {
                int type = entry >> 12;
                if (type == Absolute) continue;
                if (type != Dir64)
                {
                    return image.Diagnostics.Fail(ImageProblem.Unsupported, Place(directory, at + entryAt),
                        $"relocation type {TypeName(type)} is not for x64, which has IMAGE_REL_BASED_DIR64; link the driver again");
                }
                ulong rva = (ulong)block.VirtualAddress + (uint)(entry & 0xFFF);
                if (!image.Contents.TrySlice(rva, 8, out _))
                    return Fail(image, directory, at + entryAt, $"the relocated address at RVA 0x{rva:X} is outside the image");
                found.Add((uint)rva);
            }
            at += block.SizeOfBlock;
        }
        relocations = found.ToImmutable();
        return true;
    }

    static bool Fail(MappedImage image, IMAGE_DATA_DIRECTORY directory, ulong offset, string what) =>
        image.Diagnostics.FailDamaged(Place(directory, offset), what);

    static string Place(IMAGE_DATA_DIRECTORY directory, ulong offset) =>
        $"{MappedImage.Place(ImageDirectory.BaseRelocation)}, RVA 0x{directory.VirtualAddress + offset:X}";

    static string TypeName(int type) => type switch
    {
        1 => "IMAGE_REL_BASED_HIGH",
        2 => "IMAGE_REL_BASED_LOW",
        3 => "IMAGE_REL_BASED_HIGHLOW",
        4 => "IMAGE_REL_BASED_HIGHADJ",
        _ => $"{type}",
    };
}
