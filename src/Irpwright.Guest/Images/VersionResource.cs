using System.Collections.Immutable;
using System.Runtime.InteropServices;

namespace Irpwright.Guest.Images;

/// <summary>Reads the version resource out of the resource tree: type, name, language, then the data.</summary>
static class VersionResource
{
    const uint VersionType = 16;
    const int MaxTextLength = 1024;
    const uint SubdirectoryFlag = 1u << 31;
    const uint FixedFileInfoSignature = 0xFEEF04BD;
    /// <summary>VS_FIXEDFILEINFO follows wLength, wValueLength, wType and "VS_VERSION_INFO", aligned to 4.</summary>
    const ulong FixedFileInfoOffset = 40;

    /// <summary>The texts of all languages, by key; the first language wins.</summary>
    public static (Version? FileVersion, ImmutableSortedDictionary<string, string> Texts) Read(MappedImage image)
    {
        ReadOnlySpan<byte> version = Find(image);
        var texts = new Dictionary<string, string>(StringComparer.Ordinal);
        ReadBlock(version, 0, version.Length, depth: 0, texts);
        Version? fileVersion = null;
        if (version.TryRead(FixedFileInfoOffset, out uint signature) && signature == FixedFileInfoSignature
            && version.TryRead(FixedFileInfoOffset + 8, out uint high) && version.TryRead(FixedFileInfoOffset + 12, out uint low))
            fileVersion = new Version((int)(high >> 16), (ushort)high, (int)(low >> 16), (ushort)low);
        return (fileVersion, texts.ToImmutableSortedDictionary(StringComparer.Ordinal));
    }

    static ReadOnlySpan<byte> Find(MappedImage image)
    {
        if (!image.TryGetDirectory(ImageDirectory.Resource, out IMAGE_DATA_DIRECTORY directory)) return default;
        image.Contents.TrySlice(directory.VirtualAddress, directory.Size, out ReadOnlySpan<byte> tree);
        return TryFindEntry(tree, 0, VersionType, out uint names) && TryFindEntry(tree, names, null, out uint languages)
            && TryFindEntry(tree, languages, null, out uint leaf) && (leaf & SubdirectoryFlag) == 0
            && tree.TryRead(leaf, out IMAGE_RESOURCE_DATA_ENTRY data)
            && image.Contents.TrySlice(data.OffsetToData, data.Size, out ReadOnlySpan<byte> version) ? version : default;
    }

    /// <summary>
    /// Reads the blocks in a range: wLength, wValueLength, wType, a key, and aligned to 4 the value and then further blocks. The texts
    /// are the values of depth 3: VS_VERSION_INFO, StringFileInfo, a language, a text.
    /// </summary>
    static void ReadBlock(ReadOnlySpan<byte> version, int start, int end, int depth, Dictionary<string, string> texts)
    {
        const int header = 6, textDepth = 3;
        while (start + header <= end)
        {
            int length = version[start] | version[start + 1] << 8, valueLength = version[start + 2] | version[start + 3] << 8;
            bool isText = (version[start + 4] | version[start + 5] << 8) != 0;
            int blockEnd = start + length;
            if (length < header || blockEnd > end) return;
            string key = Text(version[(start + header)..blockEnd], int.MaxValue);
            int value = Align(start + header + 2 * (key.Length + 1));
            if (depth == textDepth)
            {
                if (isText && value < blockEnd && key.Length > 0) texts.TryAdd(key, Text(version[value..blockEnd], valueLength));
            }
            else if (depth > 0 || key == "VS_VERSION_INFO")
            {
                ReadBlock(version, Align(value + valueLength * (isText ? 2 : 1)), blockEnd, depth + 1, texts);
            }
            start = Align(blockEnd);
        }
    }

    static int Align(int offset) => offset + 3 & ~3;

    /// <summary>UTF-16 up to a NUL; characters that a terminal could obey are replaced.</summary>
    static string Text(ReadOnlySpan<byte> bytes, int maxLength)
    {
        ReadOnlySpan<char> text = MemoryMarshal.Cast<byte, char>(bytes);
        int length = text.IndexOf('\0');
        text = text[..Math.Min(length < 0 ? text.Length : length, Math.Min(maxLength, MaxTextLength))];
        return string.Create(text.Length, text, static (target, source) =>
        {
            for (int i = 0; i < source.Length; i++) target[i] = char.IsControl(source[i]) || char.IsSurrogate(source[i]) ? '?' : source[i];
        });
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
