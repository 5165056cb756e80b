"""The user's media files: their type, their length, and whether they are whole. No media library is used.

- :mod:`.media_type`: the type of a file, by its first bytes.
- :mod:`.duration`: how long an audio or a video plays. One module for each family of formats: :mod:`.frames`
  (MP3, AAC, AMR), :mod:`.chunks` (WAV, AIFF, AU, CAF), :mod:`.mp4`, :mod:`.ogg`, :mod:`.matroska`,
  :mod:`.flac`. :mod:`.packets` knows how long one packet of a codec plays.
- :mod:`.images`: the size of an image, what is unusual about it, and whether it is cut. :mod:`.image_limits`
  compares that with the limits of a model, and names the command that converts it.
- :mod:`.reader`: reads a file in blocks, within limits that hold for hostile files too.

No module here decodes anything. They count what a decoder would decode: frames, packets, bytes of samples.
The length that a file header states is not used. The package knows no Airflow.
"""
