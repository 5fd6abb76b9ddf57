namespace Irpwright.Guest.Images;

/// <summary>Reads the file version out of the resource tree: type, name, language, then the data.</summary>
static class VersionResource
{
    const uint VersionType = 16;
    const uint SubdirectoryFlag = 1u << 31;
    const uint FixedFileInfoSignature = 0xFEEF04BD;
    /// <summary>VS_FIXEDFILEINFO follows wLength, wValueLength, wType and "VS_VERSION_INFO", aligned to 4.</summary>
    const ulong FixedFileInfoOffset = 40;

    public static Version? Read(MappedImage image)
    {
        if (!image.TryGetDirectory(ImageDirectory.Resource, out IMAGE_DATA_DIRECTORY directory)) return null;
        image.Contents.TrySlice(directory.VirtualAddress, directory.Size, out ReadOnlySpan<byte> tree);
        if (!TryFindEntry(tree, 0, VersionType, out uint names) || !TryFindEntry(tree, names, null, out uint languages)
            || !TryFindEntry(tree, languages, null, out uint leaf) || (leaf & SubdirectoryFlag) != 0
            || !tree.TryRead(leaf, out IMAGE_RESOURCE_DATA_ENTRY data)
            || !image.Contents.TrySlice(data.OffsetToData, data.Size, out ReadOnlySpan<byte> version)
            || !version.TryRead(FixedFileInfoOffset, out uint signature) || signature != FixedFileInfoSignature
            || !version.TryRead(FixedFileInfoOffset + 8, out uint high) || !version.TryRead(FixedFileInfoOffset + 12, out uint low))
            return null;
        return new Version((int)(high >> 16), (ushort)high, (int)(low >> 16), (ushort)low);
    }

    /// <summary>Finds the entry with an id, or with no id the first one, in the directory at <paramref name="directoryOffset"/>.</summary>
    static bool TryFindEntry(ReadOnlySpan<byte> tree, uint directoryOffset, uint? id, out uint offset)
    {
        offset = 0;
        ulong at = directoryOffset & ~SubdirectoryFlag;
        if (directoryOffset != 0 && (directoryOffset & SubdirectoryFlag) == 0) return false;
        if (!tree.TryRead(at, out IMAGE_RESOURCE_DIRECTORY directory)) return false;
        int count = directory.NumberOfNamedEntries + directory.NumberOfIdEntries;
        for (int i = 0; i < count; i++)
        {
            if (!tree.TryRead(at + 16 + (uint)i * 8UL, out IMAGE_RESOURCE_DIRECTORY_ENTRY entry)) return false;
            if (id is not null && entry.NameOrId != id) continue;
            offset = entry.OffsetToData;
            return true;
        }
        return false;
    }
}
